"""A room's process and its guard: real journal, real adapter through a real guard process to a simulator process."""

import asyncio
import os
import signal
import sqlite3
import sys
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from tests.stimulation.clinic import Clinic, fast_clock, frames_in, simulated
from tests.stimulation.devices.rooms import cable_to
from tests.stimulation.guard.parts import DISABLE, ENABLE, FIRE_TRAIN, Guard, Simulator, wait_for
from tests.stimulation.story import PATTERN_10HZ, treatment_order

from spoel_common.clock import utc_now
from spoel_stimulation.devices.transport import is_loopback, through_guard
from spoel_stimulation.runner.guard import Told

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.invariant("INV-11"), pytest.mark.hazard("HZ-09")]

BY = {"by": "192.0.2.7", "request": ""}
STOP = "/rooms/room-1/emergency-stop"


class Guarded(Clinic):
    """A room node whose device is held by a guard."""

    def __init__(self, folder, clock, simulator, guard, **settings):
        super().__init__(folder, clock, {"room-1": simulator.address}, guard_dir=guard.directory, **settings)
        self.folder, self.simulator, self.guard = folder, simulator, guard

    async def press(self, room_id="room-1"):
        """Press the guard's emergency stop."""
        return await asyncio.to_thread(self.guard.stop, room_id)

    async def in_a_train(self):
        session_id = await self.started(await self.prepare(treatment_order(PATTERN_10HZ)))
        await self.until(lambda: self.simulator.pulses > 2, "a train under way")
        return session_id


@asynccontextmanager
async def open_guarded(tmp_path, start, speed=8.0, **settings):
    clock = fast_clock(speed)
    simulator = start(Simulator(tmp_path, clock=clock))
    guard = start(Guard(tmp_path, {"room-1": simulator.address}, clock=clock))
    clinic = Guarded(tmp_path, clock, simulator, guard, **settings)
    async with clinic.opened():
        await clinic.ready()
        await clinic.until(lambda: clinic.room.guard.up, "the guard")
        yield clinic


@pytest.fixture
async def clinic(tmp_path, start):
    async with open_guarded(tmp_path, start) as clinic:
        yield clinic


@pytest.fixture
async def real_time_clinic(tmp_path, start):
    """As ``clinic``, with trains that last longer than the guard waits."""
    async with open_guarded(tmp_path, start, speed=1.0) as clinic:
        yield clinic


async def test_a_session_runs_through_the_guard_and_every_pulse_is_recorded(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until_event("train-delivered", 2)
    assert (await clinic.ask(session_id, "stop", reason="patient-asked")).json()["device_disarmed"] is True
    delivered = sum(event["pulses"] for event in await clinic.events("train-delivered"))
    assert delivered == clinic.simulator.pulses > 0
    assert await clinic.events("device-fault") == []


async def test_the_guards_stop_ends_the_session_and_is_recorded_once(clinic):
    session_id = await clinic.in_a_train()
    assert (await clinic.press())["outcome"] == "confirmed"
    await clinic.until_latched("emergency-stop")
    (stopped,) = await clinic.until_event("emergency-stopped")
    assert (stopped["person"], stopped["outcome"], stopped["source"]) == ("unverified", "confirmed", "127.0.0.1")
    assert stopped["session_id"] == session_id
    session = await clinic.session(session_id)
    assert (session["state"], session["reason"]) == ("closed", "emergency-stop")
    (delivered,) = await clinic.events("train-delivered")
    assert (delivered["outcome"], delivered["pulses"]) == ("partial", clinic.simulator.pulses)
    assert await clinic.events("device-fault") == [], "what the guard did is no fault of the device"


async def test_the_rooms_own_stop_goes_through_the_guard_and_names_who_is_signed_in(clinic):
    await clinic.in_a_train()
    answer = (await clinic.client.post(STOP, headers={"Authorization": "Bearer petra"})).json()
    assert (answer["outcome"], answer["through"]) == ("confirmed", "guard")
    (stopped,) = await clinic.until_event("emergency-stopped")
    assert (stopped["person"], stopped["source"]) == ("petra", "room")
    assert [line["by"] for line in clinic.guard.lines("stop")][-1] == "room"


async def test_after_a_reset_a_new_session_can_be_armed_and_only_arming_releases(clinic):
    await clinic.tell_people()
    await clinic.press()
    await clinic.until_latched("emergency-stop")
    released = len(clinic.guard.lines("released"))
    assert (await clinic.post("/rooms/room-1/reset", {"reason": "device-checked"})).status_code == 200
    assert len(clinic.guard.lines("released")) == released
    await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until_event("train-delivered")
    assert len(clinic.guard.lines("released")) == released + 1


async def test_a_stop_between_the_record_and_the_arming_stands(clinic):
    session_id = await clinic.prepare(treatment_order(PATTERN_10HZ))
    await clinic.open(session_id)
    await clinic.identify(session_id)
    arming = asyncio.create_task(clinic.arm(session_id))
    await clinic.press()
    await arming
    await clinic.until_latched("emergency-stop")
    assert FIRE_TRAIN not in clinic.simulator.heard()
    assert clinic.guard.look()["held"] is True


@pytest.mark.hazard("HZ-10")
async def test_with_the_rooms_loop_blocked_and_the_journal_locked_the_guard_stops_and_it_is_recorded_later(clinic):
    session_id = await clinic.in_a_train()
    locker = sqlite3.connect(clinic.folder / "journal.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    pressing = asyncio.create_task(clinic.press())
    await asyncio.sleep(0.05)  # the request is on its way, in a thread
    stand_still(clinic, at_least_s=2.0)
    heard = clinic.simulator.heard()
    assert DISABLE in heard[heard.index(FIRE_TRAIN) :]
    assert (await pressing)["outcome"] == "confirmed"
    locker.execute("ROLLBACK")
    locker.close()
    await clinic.until_latched("emergency-stop")
    await clinic.until_event("emergency-stopped")
    assert (await clinic.session(session_id))["state"] == "closed"
    (delivered,) = await clinic.events("train-delivered")
    assert delivered["pulses"] == clinic.simulator.pulses


@pytest.mark.hazard("HZ-16")
async def test_a_loss_of_consciousness_is_recorded_from_the_guards_file_by_a_process_that_knows_nothing_of_it(clinic):
    session_id = await clinic.in_a_train()
    locker = sqlite3.connect(clinic.folder / "journal.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    answer = await clinic.client.post(f"/sessions/{session_id}/loss-of-consciousness")
    assert answer.json()["through"] == "guard"
    clinic.room.stops._pressed.clear()  # what a new process has: the guard's file alone
    locker.execute("ROLLBACK")
    locker.close()
    (reported,) = await clinic.until_event("adverse-event-reported")
    assert (reported["session_id"], reported["person"]) == (session_id, "unverified")
    assert (await clinic.session(session_id))["reason"] == "loss-of-consciousness"


def told_of(guard, *reasons):
    """Return the outcomes of stops for these reasons."""
    return [line for line in guard.lines("outcome") if line["reason"] in reasons]


def stand_still(clinic, at_least_s=0.0):
    """Block the loop until the guard's stop has its outcome: nothing of the room's process can act meanwhile."""
    since_s = time.monotonic()
    wait_for(lambda: told_of(clinic.guard, "silence", "emergency"), "an outcome")
    time.sleep(max(0.0, at_least_s - (time.monotonic() - since_s)))


async def test_a_loop_that_stands_still_is_silence_disarmed_recorded_as_a_fault_and_latched(real_time_clinic):
    clinic = real_time_clinic
    session_id = await clinic.in_a_train()
    stand_still(clinic)
    await clinic.until_event("device-fault")
    (fault,) = [event for event in await clinic.events("device-fault") if event["kind"].startswith("guard-")]
    assert fault["kind"] == "guard-silence"
    assert "confirmed" in fault["detail"]
    await clinic.until_latched("device-fault")
    session = await clinic.until_state(session_id, "interrupted")
    assert session["reason"] == "device-fault"
    (delivered,) = await clinic.until_event("train-delivered")
    assert delivered["pulses"] == clinic.simulator.pulses < 40


async def test_a_killed_guard_leaves_an_unusable_room_and_the_new_one_disarms_first(clinic, start):
    await clinic.in_a_train()
    guard = clinic.guard
    guard.end(signal.SIGKILL)
    await clinic.until_latched("link-lost")
    assert not clinic.room.look().device.ready
    answer = (await clinic.client.post(STOP)).json()
    assert (answer["outcome"], answer["through"]) == ("not-confirmed", "room")
    assert "Lift the coil" in answer["instruction"]["en"]
    heard = len(clinic.simulator.heard())
    start(Guard(clinic.folder, {"room-1": clinic.simulator.address}, clock=clinic.clock))
    await clinic.until(lambda: clinic.room.link.up and clinic.room.guard.up, "the new guard")
    assert clinic.simulator.heard()[heard] == DISABLE
    await clinic.until_event("emergency-stopped")
    total = sum(event["pulses"] for event in await clinic.events("train-delivered"))
    assert total == clinic.simulator.pulses


async def recorded_to(clinic, number):
    return (await clinic.room.journal.guard_recorded_to())[1] >= number


async def guard_at_rest(clinic):
    await clinic.ready()
    await clinic.until(lambda: clinic.room.guard.up and not clinic.room.guard.stopping, "the guard")


async def test_a_guard_that_stands_still_is_noticed_and_the_stop_says_that_it_is_not_confirmed(clinic):
    clinic.guard.send_signal(signal.SIGSTOP)
    try:
        answer = (await clinic.client.post(STOP)).json()
        assert (answer["outcome"], answer["through"]) == ("not-confirmed", "room")
        await clinic.until(lambda: not clinic.room.guard.up, "it is noticed")
        assert "guard" in clinic.room.look().device.problem
    finally:
        clinic.guard.send_signal(signal.SIGCONT)
    await guard_at_rest(clinic)
    await clinic.until(lambda: told_of(clinic.guard, "emergency"), "the guard tells it too")
    (told,) = told_of(clinic.guard, "emergency")
    await clinic.until(lambda: recorded_to(clinic, told["n"]), "it is taken as recorded")
    assert len(await clinic.until_event("emergency-stopped")) == 1, "the same stop, told again by the guard"


async def test_a_guard_that_tells_of_a_stop_while_the_room_still_looks_for_itself_has_it_recorded_once(
    clinic, monkeypatch
):
    monkeypatch.setattr("spoel_stimulation.runner.stops.GUARD_ANSWER_S", 0.1)
    looking, go_on, look = asyncio.Event(), asyncio.Event(), clinic.room.stops._disarm_and_see

    async def look_long():
        outcome = await look()
        looking.set()
        await go_on.wait()
        return outcome

    monkeypatch.setattr(clinic.room.stops, "_disarm_and_see", look_long)
    clinic.guard.send_signal(signal.SIGSTOP)
    pressing = asyncio.create_task(clinic.client.post(STOP))
    await clinic.until(lambda: clinic.room.delivery.bars and not clinic.room.guard._stops, "it waits for itself")
    clinic.guard.send_signal(signal.SIGCONT)
    await clinic.until(lambda: told_of(clinic.guard, "emergency"), "the guard tells of it")
    (told,) = told_of(clinic.guard, "emergency")
    await clinic.until(lambda: recorded_to(clinic, told["n"]), "that is dealt with")
    await looking.wait()
    go_on.set()
    assert (await pressing).json()["through"] == "room"
    await clinic.until(lambda: not clinic.room.holds, "the record")
    assert len(await clinic.events("emergency-stopped")) == 1


async def test_a_stop_that_the_room_recorded_by_itself_is_not_recorded_again_when_the_guard_tells_a_new_process(
    tmp_path, start, monkeypatch
):
    monkeypatch.setattr("spoel_stimulation.runner.stops.GUARD_ANSWER_S", 0.1)
    async with open_guarded(tmp_path, start) as clinic:
        clinic.guard.send_signal(signal.SIGSTOP)
        assert (await clinic.client.post(STOP)).json()["through"] == "room"
        await clinic.until_event("emergency-stopped")
    clinic.guard.send_signal(signal.SIGCONT)
    async with clinic.opened():
        await guard_at_rest(clinic)
        await clinic.until(lambda: told_of(clinic.guard, "emergency"), "the guard tells it too")
        (told,) = told_of(clinic.guard, "emergency")
        await clinic.until(lambda: recorded_to(clinic, told["n"]), "it is taken as recorded")
        assert len(await clinic.events("emergency-stopped")) == 1


async def test_a_stop_while_the_rooms_process_is_killed_is_recorded_once_when_it_is_back(tmp_path, start):
    clock = fast_clock(8.0)
    simulator = start(Simulator(tmp_path, clock=clock))
    guard = start(Guard(tmp_path, {"room-1": simulator.address}, clock=clock))
    command = (sys.executable, "-m", "tests.stimulation.guard.room_process")
    told = (str(tmp_path), clock.to_setting(), simulator.address, str(guard.directory))
    child = await asyncio.create_subprocess_exec(*command, *told, stdout=asyncio.subprocess.PIPE, env=os.environ)
    try:
        async with asyncio.timeout(60):
            while not (line := (await child.stdout.readline()).decode()).startswith("session "):
                assert line, "it ended"
        session_id = line.split()[1]
    finally:
        child.kill()
        await child.wait()
    assert (await asyncio.to_thread(guard.stop))["outcome"] == "confirmed"
    for _ in range(2):  # and not again after another restart
        clinic = Guarded(tmp_path, clock, simulator, guard)
        async with clinic.opened():
            await guard_at_rest(clinic)
            (stopped,) = await clinic.until_event("emergency-stopped")
            assert (stopped["session_id"], stopped["outcome"]) == (session_id, "confirmed")
            assert stopped["stopped_at"] is not None
            await clinic.until_state(session_id, "closed")
            kinds = [event["kind"] for event in await clinic.until_event("device-fault")]
            assert kinds == ["guard-room-gone"]
            delivered = sum(event["pulses"] for event in await clinic.events("train-delivered"))
            assert delivered == simulator.pulses


async def test_a_device_that_is_armed_at_its_panel_after_a_stop_is_disarmed_again(tmp_path, start):
    async with simulated(tmp_path, fast_clock()) as plain:
        address = plain.settings.rooms[0].address
        guard = start(await asyncio.to_thread(Guard, tmp_path, {"room-1": address}))
        await asyncio.to_thread(guard.until_open)
        assert (await asyncio.to_thread(guard.stop))["outcome"] == "confirmed"
        plain.simulator.panel_enable(enabled=True)
        await plain.until(lambda: not plain.simulator.enabled, "it is disarmed again")
        await plain.until(lambda: guard.lines("stop")[-1]["reason"] == "enabled-again", "the line in the file")
        assert ENABLE not in frames_in(tmp_path)


async def test_also_where_its_cable_was_out_since(tmp_path, start):
    async with simulated(tmp_path, fast_clock()) as plain, cable_to(plain.settings.rooms[0].address) as cable:
        guard = start(await asyncio.to_thread(Guard, tmp_path, {"room-1": cable.address}))
        await asyncio.to_thread(guard.until_open)
        assert (await asyncio.to_thread(guard.stop))["outcome"] == "confirmed"
        cable.cut()
        await plain.until(lambda: len(guard.lines("link-up")) == 2, "the port is open again")
        await plain.until(lambda: guard.lines("outcome")[-1]["reason"] == "port-opened", "its disarm is confirmed")
        plain.simulator.panel_enable(enabled=True)
        await plain.until(lambda: not plain.simulator.enabled, "it is disarmed again")
        await plain.until(lambda: guard.lines("stop")[-1]["reason"] == "enabled-again", "the line in the file")


async def test_all_that_the_guard_did_to_the_device_is_in_an_event_once(clinic, start):
    """From its first disarm to its last, and the first of the guard after it."""
    await clinic.press()
    clinic.guard.end(signal.SIGTERM)
    guard = start(Guard(clinic.folder, {"room-1": clinic.simulator.address}, clock=clinic.clock))
    await clinic.until(lambda: [line["reason"] for line in guard.lines("outcome")][-1] == "port-opened", "its disarm")
    outcomes = guard.lines("outcome")
    await clinic.until(lambda: recorded_to(clinic, outcomes[-1]["n"]), "all is recorded")
    disarmed = [(event["reason"], event["outcome"]) for event in await clinic.events("guard-disarmed")]
    assert disarmed == [(line["reason"], line["outcome"]) for line in outcomes if line["reason"] != "emergency"]
    assert [reason for reason, _ in disarmed] == ["port-opened", "ending", "port-opened"]
    assert len(await clinic.events("emergency-stopped")) == len(outcomes) - len(disarmed) == 1
    assert await clinic.events("device-fault") == []


@pytest.mark.hazard("HZ-08")
async def test_a_device_that_is_armed_at_its_panel_while_it_is_held_latches_the_room(tmp_path, start):
    async with simulated(tmp_path, fast_clock()) as plain:
        address = plain.settings.rooms[0].address
        guard = start(await asyncio.to_thread(Guard, tmp_path, {"room-1": address}))
        clinic = Guarded(tmp_path, plain.clock, SimpleNamespace(address=address), guard)
        async with clinic.opened():
            await guard_at_rest(clinic)
            await clinic.tell_people()
            await clinic.press()
            await clinic.until_latched("emergency-stop")
            assert (await clinic.post("/rooms/room-1/reset", {"reason": "device-checked"})).is_success
            plain.simulator.panel_enable(enabled=True)
            await clinic.until_latched("device-fault")
            (fault,) = await clinic.events("device-fault")
            assert fault["kind"] == "guard-enabled-again"
            assert not plain.simulator.enabled


async def test_what_is_told_twice_is_recorded_once(clinic):
    told = Told("file", 5, 4, "confirmed", "emergency", armed=True, **BY, stopped_at=utc_now(clinic.clock))
    await clinic.room.stops.guard_told(told)
    await clinic.room.stops.guard_told(told)
    await clinic.room.stops.guard_told(told._replace(number=3))
    await clinic.room.stops.guard_told(told._replace(number=6))
    await clinic.room.stops.guard_told(told._replace(file_id="another", number=1))
    assert len(await clinic.events("emergency-stopped")) == 3


async def test_a_guard_of_another_device_is_not_worked_with(tmp_path, start):
    clock = fast_clock()
    simulator, other = start(Simulator(tmp_path, clock=clock)), start(Simulator(tmp_path, number=2, clock=clock))
    guard = start(Guard(tmp_path, {"room-1": other.address}, clock=clock))
    clinic = Guarded(tmp_path, clock, simulator, guard)
    async with clinic.opened():
        await clinic.until(lambda: "SPOEL_ROOMS" in clinic.room.guard.problem, "the guard's device is another")
        await clinic.until(lambda: clinic.room.link.up, "a device answers")
        assert not clinic.room.look().device.ready


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize(
    ("address", "loopback"),
    [("socket://127.0.0.1:5000", True), ("socket://10.0.0.7:5000", False), ("/dev/ttyUSB0", False)],
)
def test_behind_a_guard_it_is_the_devices_own_address_that_says_what_it_may_be(tmp_path, address, loopback):
    assert is_loopback(through_guard(tmp_path / "room-1.data", address)) is loopback
