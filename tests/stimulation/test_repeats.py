"""A repeated command with an effect on the device is told how it stands and never done again, across restarts too."""

import asyncio

import pytest
from tests.stimulation.clinic import firing_frames, frames_in
from tests.stimulation.story import PATTERN_ITBS, measurement_order, treatment_order

from spoel_common.clock import utc_now
from spoel_stimulation.domain.facts import local_day

MANY = PATTERN_ITBS.model_copy(update={"trains": 8})
ENABLE = "0201"
BODIES = {
    "arm": {"ear_protection": True},
    "start": {},
    "pause": {"reason": "other"},
    "resume": {"ear_protection": True},
    "parameters": {"parameter": "percent_rmt", "value": 100.0, "reason": "pain"},
    "stop": {"reason": "other"},
}
pytestmark = [pytest.mark.invariant("INV-9"), pytest.mark.hazard("HZ-11")]


async def ask(clinic, session_id, act):
    """Ask for ``act`` under its own key: asked again, it is a repeat."""
    response = await clinic.ask(session_id, act, key=f"key-{act}", **BODIES[act])
    assert response.is_success, response.text
    return response


async def names_of_acts(clinic):
    return [name for name in await clinic.names() if name.startswith(("session-", "train-", "parameter-"))]


async def hanging(*_):
    await asyncio.Event().wait()


async def test_repeats_of_every_command_of_a_session_act_no_second_time_even_after_a_restart(closed_clinic):
    async with closed_clinic.opened() as clinic:
        session_id = await clinic.prepare(treatment_order(MANY))
        await clinic.seated(session_id)
        first = {"arm": await ask(clinic, session_id, "arm"), "start": await ask(clinic, session_id, "start")}
        await clinic.until_event("train-delivered", 1)
        for act in ("pause", "parameters"):
            first[act] = await ask(clinic, session_id, act)
        await clinic.until(lambda: not clinic.room.delivery.busy.locked(), "the running train's end")
        await ask(clinic, session_id, "start")  # a repeat: the session stays paused
        assert (await clinic.session(session_id))["state"] == "paused"
        first["resume"] = await ask(clinic, session_id, "resume")
        await clinic.until_event("train-delivered", 2)
        first["stop"] = await ask(clinic, session_id, "stop")
        for act in ("pause", "resume", "start", "arm", "parameters", "stop"):
            await ask(clinic, session_id, act)
        before = await names_of_acts(clinic)
        fired, enabled = len(firing_frames(clinic.folder)), frames_in(clinic.folder).count(ENABLE)
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        for act, answer in first.items():
            again = await ask(clinic, session_id, act)
            assert again.status_code == answer.status_code
            assert again.headers["idempotency-replayed"] == "true"
            if act != "arm":  # which tells the state of things now
                assert again.json() == answer.json(), act
        arm = (await ask(clinic, session_id, "arm")).json()
        assert (arm["outcome"], arm["event_id"], arm["state"]) == ("done", first["arm"].json()["event_id"], "closed")
        assert await names_of_acts(clinic) == before
        assert before.count("session-armed") == before.count("session-started") == before.count("session-closed") == 1
        assert (len(firing_frames(clinic.folder)), frames_in(clinic.folder).count(ENABLE)) == (fired, enabled)
        assert enabled >= 1
        assert not clinic.simulator.enabled


async def test_an_arming_that_a_crash_broke_off_is_told_as_failed_and_not_done_again(closed_clinic, monkeypatch):
    async with closed_clinic.opened() as clinic:
        session_id = await clinic.prepare(treatment_order(MANY))
        await clinic.seated(session_id)
        monkeypatch.setattr(clinic.room.delivery, "stage_and_arm", hanging)
        asked = asyncio.create_task(ask(clinic, session_id, "arm"))
        await clinic.until(lambda: clinic.room.arming.under_way, "the intention")
        (intention,) = clinic.room.arming.under_way
        asked.cancel()  # whoever asked is gone, and so is the process
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        for _ in range(2):
            answer = await ask(clinic, session_id, "arm")
            assert answer.headers["idempotency-replayed"] == "true"
            told = answer.json()
            assert (told["outcome"], told["problem"], told["event_id"]) == ("failed", "interrupted", intention)
        assert frames_in(clinic.folder).count(ENABLE) == 0
        assert await clinic.events("session-armed") == []


@pytest.mark.invariant("INV-1")
async def test_a_stimulus_that_a_crash_broke_off_is_told_as_it_ended_and_never_fired_again(closed_clinic, monkeypatch):
    order = measurement_order(valid_on=local_day(utc_now(closed_clinic.clock)), min_interval_s=1.0)
    async with closed_clinic.opened() as clinic:
        session_id = await clinic.started(await clinic.prepare(order, "measurement"))
        monkeypatch.setattr(clinic.room.delivery, "deliver", hanging)
        answer = await clinic.ask(session_id, "stimuli", key="s", percent_mso=40)
        assert (answer.status_code, answer.json()["outcome"]) == (202, "accepted")
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        for _ in range(2):
            again = await clinic.ask(session_id, "stimuli", key="s", percent_mso=40)
            assert again.headers["idempotency-replayed"] == "true"
            assert (again.json()["train_id"], again.json()["outcome"]) == (answer.json()["train_id"], "failed")
        assert (await clinic.events("train-delivered"))[0]["outcome"] == "none"
        assert len(await clinic.events("train-authorised")) == 1
        assert firing_frames(clinic.folder) == []
