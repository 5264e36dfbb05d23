"""What happens between every two steps: stops while arming, two requests at once, a bar behind an authorisation."""

import asyncio
from dataclasses import dataclass

import pytest
from tests.stimulation.clinic import firing_frames, frames_in
from tests.stimulation.story import PATTERN_10HZ, PATTERN_ITBS, SUPERVISOR, measurement_order, treatment_order

from spoel_common.clock import utc_now
from spoel_stimulation.devices.adapter import Unasked
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.runner.delivery import UnaccountedPulses

SHORT = PATTERN_ITBS.model_copy(update={"trains": 3})
STOP = "/rooms/room-1/emergency-stop"
ENABLE = "0201"


async def identified(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.seated(session_id)
    return session_id


async def measuring(clinic):
    order = measurement_order(valid_on=local_day(utc_now(clinic.clock)), min_interval_s=1.0)
    return await clinic.started(await clinic.prepare(order, "measurement"))


@dataclass
class Person:
    """Says who asked for the emergency stop, but only when told to: the record is held up until then."""

    may_answer: asyncio.Event

    async def __call__(self):
        await self.may_answer.wait()
        return "unverified"


@pytest.mark.invariant("INV-8")
@pytest.mark.hazard("HZ-10")
async def test_an_arming_that_waits_when_the_emergency_stop_comes_never_enables_the_device(clinic):
    session_id = await identified(clinic)
    async with clinic.room.delivery.busy:
        arming = asyncio.create_task(clinic.arm(session_id))
        await clinic.until(lambda: clinic.room.arming.under_way, "the arming")
        assert (await clinic.client.post(STOP)).json()["outcome"] == "confirmed"
    answer = (await arming).json()
    assert (answer["outcome"], answer["problem"] in {"device-not-staged", "room-latched"}) == ("failed", True)
    await clinic.until_latched("emergency-stop")
    assert ENABLE not in frames_in(clinic.folder)
    assert [event["reason"] for event in await clinic.events("room-latched")] == ["emergency-stop"]


@pytest.mark.invariant("INV-8")
@pytest.mark.hazard("HZ-10")
async def test_nothing_is_armed_between_an_emergency_stop_and_its_record(clinic):
    session_id = await identified(clinic)
    person = Person(asyncio.Event())
    assert (await clinic.room.stops.emergency(person)).outcome == "confirmed"
    refused = await clinic.arm(session_id)
    assert refused.json()["type"].endswith("device-not-ready"), refused.text
    assert ENABLE not in frames_in(clinic.folder)
    person.may_answer.set()
    await clinic.until_latched("emergency-stop")


@pytest.mark.invariant("INV-8")
async def test_nothing_starts_between_an_emergency_stop_and_its_record(clinic):
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT)))
    person = Person(asyncio.Event())
    await clinic.room.stops.emergency(person)
    clinic.simulator.panel_enable(enabled=True)
    refused = await clinic.ask(session_id, "start")
    assert refused.json()["type"].endswith("device-not-ready"), refused.text
    person.may_answer.set()
    await clinic.until_latched("emergency-stop")
    assert firing_frames(clinic.folder) == []


@pytest.mark.invariant("INV-8")
async def test_an_emergency_stop_is_recorded_whatever_goes_wrong_in_asking_who_pressed_it(clinic):
    async def broken():
        raise RuntimeError("the issuer's keys are of a kind that nobody thought of")

    assert (await clinic.room.stops.emergency(broken)).outcome == "confirmed"
    (stopped,) = await clinic.until_event("emergency-stopped")
    assert stopped["person"] == "unverified"
    await clinic.until_latched("emergency-stop")


@pytest.mark.invariant("INV-7")
async def test_an_ordinary_stop_while_arming_is_no_fault_and_leaves_the_device_disarmed(clinic):
    session_id = await identified(clinic)
    async with clinic.room.delivery.busy:
        arming = asyncio.create_task(clinic.arm(session_id))
        await clinic.until(lambda: clinic.room.arming.under_way, "the arming")
        stopped = (await clinic.ask(session_id, "stop", reason="other")).json()
    assert (stopped["state"], stopped["device_disarmed"]) == ("closed", True)
    assert (await arming).json()["outcome"] == "failed"
    assert (await clinic.room_view())["latch"] is None
    assert ENABLE not in frames_in(clinic.folder)


@pytest.mark.invariant("INV-2")
async def test_an_arming_that_waited_stages_nothing_in_a_room_that_was_latched_meanwhile(clinic):
    session_id = await identified(clinic)
    async with clinic.room.delivery.busy:
        arming = asyncio.create_task(clinic.arm(session_id))
        await clinic.until(lambda: clinic.room.arming.under_way, "the arming")
        await clinic.room.journal.fault("device-fault", "test", "latched by the test")
    assert (await arming).json()["problem"] == "room-latched"
    assert ENABLE not in frames_in(clinic.folder)


@pytest.mark.invariant("INV-1")
@pytest.mark.requirement("ST-12")
async def test_a_train_that_was_authorised_when_the_stop_came_is_recorded_as_not_sent(clinic, monkeypatch):
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT)))
    authorise, committed, go_on = clinic.room.journal.authorise, asyncio.Event(), asyncio.Event()

    async def slow(state, command):
        after = await authorise(state, command)
        committed.set()
        await go_on.wait()
        return after

    monkeypatch.setattr(clinic.room.journal, "authorise", slow)
    await clinic.ask(session_id, "start")
    await committed.wait()
    stopping = asyncio.create_task(clinic.ask(session_id, "stop", reason="patient-asked"))
    await clinic.until(lambda: not clinic.simulator.enabled, "the disarmed device")
    go_on.set()
    assert (await stopping).json()["state"] == "closed"
    assert firing_frames(clinic.folder) == []
    (delivered,) = await clinic.events("train-delivered")
    assert (delivered["outcome"], delivered["pulses"]) == ("none", 0)
    (closed,) = await clinic.events("session-closed")
    assert (closed["pulses_unknown"], closed["reason"]) == (0, "patient-asked")
    assert (await clinic.room_view())["latch"] is None


@pytest.mark.invariant("INV-1")
@pytest.mark.parametrize("percent_mso", [0, 44])
async def test_a_stimulus_that_was_authorised_when_the_stop_came_is_not_sent_and_no_fault(clinic, percent_mso):
    session_id = await measuring(clinic)
    percent_mso = percent_mso or 40
    async with clinic.room.delivery.busy:
        await clinic.room.delivery.count()
        clinic.room.count = lambda: asyncio.sleep(0)
        stimulating = asyncio.create_task(clinic.ask(session_id, "stimuli", percent_mso=percent_mso))
        await clinic.until_event("train-authorised")
        stopping = asyncio.create_task(clinic.ask(session_id, "stop", reason="other"))
        await clinic.until(lambda: not clinic.simulator.enabled, "the disarmed device")
    assert (await stimulating).json()["outcome"] == "failed"
    assert (await stopping).json()["state"] == "closed"
    assert firing_frames(clinic.folder) == []
    assert (await clinic.events("session-closed"))[0]["pulses_unknown"] == 0
    assert (await clinic.room_view())["latch"] is None


@pytest.mark.invariant("INV-1")
async def test_a_stimulus_is_not_authorised_on_a_counter_of_before_the_last_one(clinic):
    session_id = await measuring(clinic)
    assert (await clinic.ask(session_id, "stimuli", percent_mso=40)).json()["outcome"] == "done"
    assert clinic.room.look().device.total_pulses is None


@pytest.mark.invariant("INV-1")
@pytest.mark.hazard("HZ-08")
async def test_pulses_that_two_find_at_once_are_recorded_once(clinic):
    clinic.simulator.counts.pulses += 3
    found = UnaccountedPulses(3, clinic.simulator.total_pulses)
    total = clinic.simulator.total_pulses
    told = Unasked(kind="pulse", detail="test", pulses=3, device_total_pulses=total, disarmed=True)
    await asyncio.gather(
        clinic.room.faults.unaccounted(found), clinic.room.device_news.device_did(told), clinic.room.count()
    )
    await clinic.until_latched("unauthorised-pulse")
    await clinic.until(lambda: clinic.room.background.idle, "the end of what was begun")
    assert [event["pulses"] for event in await clinic.events("unauthorised-pulse-observed")] == [3]


@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-7")
async def test_a_counter_that_goes_back_between_two_trains_latches(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until_event("train-delivered")
    clinic.simulator.counts.pulses = 7
    assert (await clinic.until_state(session_id, "interrupted"))["reason"] == "device-fault"
    assert [event["kind"] for event in await clinic.events("device-fault")] == ["counter-restarted"]
    assert len(firing_frames(clinic.folder)) == 1
    assert clinic.room.delivery.accounted.total_pulses == 7


@pytest.mark.invariant("INV-7")
@pytest.mark.hazard("HZ-08")
async def test_a_pulse_that_was_heard_and_not_counted_latches_an_armed_room(clinic):
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT)))
    simulator = clinic.simulator
    simulator._at_panel(simulator._say, say.Stimulus(100, 0, simulator._tell.status()))
    await clinic.until_latched("device-fault")
    assert [event["kind"] for event in await clinic.events("device-fault")] == ["pulse-not-counted"]
    assert (await clinic.session(session_id))["state"] == "identified"
    assert not simulator.enabled


@pytest.mark.invariant("INV-8")
@pytest.mark.hazard("HZ-10")
async def test_a_stop_that_the_device_ignores_says_so_and_latches(clinic, monkeypatch):
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT)))

    async def ignored():
        return False

    monkeypatch.setattr(clinic.room.device, "disarm", ignored)
    answer = (await clinic.ask(session_id, "stop", reason="other")).json()
    assert (answer["state"], answer["device_disarmed"]) == ("closed", False)
    await clinic.until_latched("device-fault")
    monkeypatch.undo()


@pytest.mark.invariant("INV-5")
@pytest.mark.requirement("ST-01")
async def test_a_professional_may_not_put_down_a_supervisor_who_is_not_there(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    refused = await clinic.open(session_id, supervisor_id=SUPERVISOR.person_id)
    assert refused.json()["type"].endswith("supervision-missing")
    assert (await clinic.open(session_id)).status_code == 201
