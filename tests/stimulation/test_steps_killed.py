"""The process is gone between any two steps around a train: nothing is fired again, and every pulse is accounted for.

A step is a call on the way of a train; the process "dies" before it, which is behind the step before, and when the last
has returned: its tasks are gone, its connection breaks, nothing more is written or sent. What the device does by itself
goes on, as it would.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from tests.stimulation.clinic import firing_frames, frames_in
from tests.stimulation.story import PATTERN_10HZ, PATTERN_ITBS, treatment_order

from spoel_stimulation.devices.magpro import commands as ask

TRAINS = PATTERN_ITBS.model_copy(update={"trains": 3, "train_interval_s": 30.0})
LONG = PATTERN_10HZ.model_copy(update={"trains": 3, "bursts_per_train": 90})
DISABLE = "0200"


class Step(NamedTuple):
    """A call on the way of a train: whose, its name, and which calls are meant."""

    of: Callable[[Any], Any]
    name: str
    meant: Callable[..., bool] = lambda *_args, **_rest: True


def _is_start(command: object, *_rest: object) -> bool:
    return isinstance(command, ask.FireTrain)


def _link(room: Any) -> Any:
    return room.device._talk.link


STEPS = {
    "status-asked": Step(lambda room: room, "freshen"),
    "intensity-set": Step(lambda room: room.delivery, "set_percent_mso"),
    "counted": Step(lambda room: room.delivery, "count"),
    "authorised": Step(lambda room: room.journal, "authorise"),
    "handed-over": Step(lambda room: room.delivery, "deliver"),
    "given-to-the-adapter": Step(lambda room: room.device, "run_train"),
    "read-back-once-more": Step(lambda room: room.device, "_check_before_start"),
    "start-sent": Step(_link, "send", _is_start),
    "followed": Step(lambda room: room.device, "_fire_and_follow"),
    "counted-afterwards": Step(lambda room: room.device, "_counters_or_none"),
    "end-looked-at": Step(lambda room: room.device, "_after_train"),
    "recorded": Step(lambda room: room.journal, "record_train"),
}


class Death:
    """Lets the process of a clinic die at a step of its next train."""

    def __init__(self, clinic: Any, step: Step, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self._clinic = clinic
        self._monkeypatch = monkeypatch
        target = step.of(clinic.room)
        original = getattr(target, step.name)

        async def call(*args: Any, **named: Any) -> Any:
            if self.reached.is_set() or not step.meant(*args, **named):
                return await original(*args, **named)
            if when == "after":
                await original(*args, **named)
            return await self._die()

        monkeypatch.setattr(target, step.name, call)

    async def _die(self) -> None:
        """Freeze here, as a process that is gone; what else the room does is ended without a word to the device."""
        self.reached.set()
        await asyncio.Event().wait()

    async def bury(self) -> None:
        """End what is left of the process: no disarm, no frame, no record."""
        await asyncio.wait_for(self.reached.wait(), 20)
        room = self._clinic.room
        link = _link(room)
        for name, answer in (("disarm", False), ("close", None)):
            self._monkeypatch.setattr(room.device, name, _saying(answer))
        for name in ("fault", "unauthorised_pulses", "interlock", "connected", "emergency", "record_train"):
            self._monkeypatch.setattr(room.journal, name, _hanging)
        for task in asyncio.all_tasks():
            if task.get_name().startswith(("room-1", "magpro")):
                task.cancel()
        await link.close()


def _saying(answer: object) -> Callable[..., Any]:
    async def say(*_args: object, **_named: object) -> object:
        return answer

    return say


async def _hanging(*_args: object, **_named: object) -> None:
    await asyncio.Event().wait()


async def killed_at(clinic: Any, pattern: Any, step: str, when: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lead a session through its first train, and let the process die at a step of the second."""
    async with clinic.opened():
        session_id = await clinic.started(await clinic.prepare(treatment_order(pattern)))
        await clinic.until_event("train-delivered", 1)
        death = Death(clinic, STEPS[step], when, monkeypatch)
        await death.bury()
    monkeypatch.undo()
    return session_id


async def accounted(clinic: Any) -> int:
    """Return the pulses that are recorded: of trains, and those that no train accounts for."""
    delivered = sum(event["pulses"] for event in await clinic.events("train-delivered"))
    return delivered + sum(event["pulses"] for event in await clinic.events("unauthorised-pulse-observed"))


async def check_recovered(clinic: Any, session_id: str, fired: int, seen: int) -> None:
    """Assert what holds after every death: disarmed first, latched, whole record, and no further start by itself."""
    await clinic.ready()
    view = await clinic.room_view()
    assert view["latch"]["reason"] == "service-restart"
    assert (await clinic.session(session_id))["state"] == "interrupted"
    assert frames_in(clinic.folder)[seen] == DISABLE
    assert not clinic.simulator.enabled
    await asyncio.sleep(0.3)
    assert len(firing_frames(clinic.folder)) == fired
    assert await clinic.events("train-outcome-unknown") == []
    assert await accounted(clinic) == clinic.simulator.total_pulses
    assert await clinic.events("unauthorised-pulse-observed") == []
    assert fired <= len(await clinic.events("train-authorised")) <= fired + 1


@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-9")
@pytest.mark.hazard("HZ-11")
@pytest.mark.parametrize(("step", "when"), [*((step, "before") for step in STEPS), ("recorded", "after")])
async def test_gone_between_any_two_steps_around_a_train(closed_clinic, monkeypatch, step, when):
    session_id = await killed_at(closed_clinic, TRAINS, step, when, monkeypatch)
    await closed_clinic.until(lambda: not closed_clinic.simulator.running, "the end of the train under way")
    assert closed_clinic.simulator.total_pulses in {30, 60}
    fired, seen = len(firing_frames(closed_clinic.folder)), len(frames_in(closed_clinic.folder))
    async with closed_clinic.opened() as clinic:
        await check_recovered(clinic, session_id, fired, seen)


@pytest.mark.invariant("INV-1")
@pytest.mark.hazard("HZ-09")
async def test_back_while_the_device_still_runs_it_disarms_first_and_counts_then(closed_clinic, monkeypatch):
    session_id = await killed_at(closed_clinic, LONG, "start-sent", "after", monkeypatch)
    fired, seen = len(firing_frames(closed_clinic.folder)), len(frames_in(closed_clinic.folder))
    async with closed_clinic.opened() as clinic:
        await check_recovered(clinic, session_id, fired, seen)
        assert 90 <= clinic.simulator.total_pulses <= 180


@pytest.mark.invariant("INV-7")
async def test_afterwards_a_person_resets_arms_and_resumes_with_the_next_train(closed_clinic, monkeypatch):
    session_id = await killed_at(closed_clinic, TRAINS, "start-sent", "after", monkeypatch)
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        assert (await clinic.post("/rooms/room-1/reset", {"reason": "device-checked"})).is_success
        assert (await clinic.arm(session_id)).json()["outcome"] == "done"
        await clinic.present(session_id)
        assert (await clinic.ask(session_id, "resume", ear_protection=True, side_or_site="left")).is_success
        session = await clinic.until_state(session_id, "closed")
        assert session["progress"]["trains_done"] == 3
        assert await accounted(clinic) == clinic.simulator.total_pulses
