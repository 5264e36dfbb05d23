"""After a crash: disarm first, close the gap from the device's counter, latch, and never fire by itself."""

import pytest
from tests.stimulation.clinic import Clinic, fast_clock, firing_frames, frames_in, simulated
from tests.stimulation.devices.rooms import cable_to
from tests.stimulation.story import PATTERN_10HZ, PATTERN_ITBS, treatment_order

from spoel_common.ids import new_id
from spoel_stimulation.commands import AuthoriseTrain

SHORT = PATTERN_ITBS.model_copy(update={"trains": 3, "train_interval_s": 30.0})
DISABLE = "0200"


async def crashed_after_authorising(clinic, pulses):
    """Lead a session to its second train, authorise that, and go down before or while the device gives pulses."""
    async with clinic.opened():
        session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
        await clinic.until_event("train-delivered", 1)
        await clinic.room.delivery.busy.acquire()  # keeps the conductor from the next train
        state = await clinic.room.journal.open_session()
        await clinic.room.delivery.count()
        moment = state.trains[-1].onset_at.timestamp() + 30
        await clinic.until(lambda: clinic.clock.utc_ns() > moment * 1e9, "the next onset")
        command = AuthoriseTrain(train_id=new_id(), percent_mso=state.percent_mso)
        await clinic.room.journal.authorise(state, command)
        clinic.simulator.counts.pulses += pulses
    return session_id


@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-7")
@pytest.mark.hazard("HZ-11")
@pytest.mark.parametrize(("pulses", "outcome"), [(0, "none"), (13, "partial"), (30, "complete")])
async def test_a_restart_closes_the_gap_from_the_counter_and_latches(closed_clinic, pulses, outcome):
    session_id = await crashed_after_authorising(closed_clinic, pulses)
    fired = len(firing_frames(closed_clinic.folder))
    seen = len(frames_in(closed_clinic.folder))
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        session = await clinic.session(session_id)
        last = (await clinic.events("train-delivered"))[-1]
        view = await clinic.room_view()
        assert (last["outcome"], last["pulses"], last["evidence"]) == (outcome, pulses, "counter")
        assert view["latch"]["reason"] == "service-restart"
        assert (session["state"], session["reason"]) == ("interrupted", "service-restart")
        assert frames_in(clinic.folder)[seen] == DISABLE
        refused = await clinic.arm(session_id)
        assert refused.json()["type"].endswith("room-latched")
        assert len(firing_frames(clinic.folder)) == fired


@pytest.mark.invariant("INV-7")
async def test_after_a_reset_a_person_arms_and_resumes_with_the_next_train(closed_clinic):
    session_id = await crashed_after_authorising(closed_clinic, 13)
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        assert (await clinic.post("/rooms/room-1/reset", {"reason": "device-restarted"})).status_code == 200
        refused = await clinic.ask(session_id, "resume", ear_protection=True)
        assert refused.json()["type"].endswith("transition-not-allowed")
        armed = (await clinic.arm(session_id)).json()
        assert (armed["outcome"], armed["state"]) == ("done", "paused")
        refused = await clinic.ask(session_id, "resume", ear_protection=True, side_or_site="left")
        assert refused.json()["type"].endswith("presence-missing")
        await clinic.present(session_id)
        refused = await clinic.ask(session_id, "resume", ear_protection=True)
        assert refused.json()["type"].endswith("site-confirmation-missing")
        resumed = await clinic.ask(session_id, "resume", ear_protection=True, side_or_site="left")
        assert resumed.status_code == 200
        session = await clinic.until_state(session_id, "closed")
        assert [event["pulses"] for event in await clinic.events("train-delivered")] == [30, 13, 30]
        assert session["progress"]["pulses_delivered"] == clinic.simulator.total_pulses == 73
        (closed,) = await clinic.events("session-closed")
        assert closed["outcome"] == "partial"


@pytest.mark.invariant("INV-1")
async def test_pulses_beyond_the_train_are_recorded_as_unauthorised(closed_clinic):
    await crashed_after_authorising(closed_clinic, 33)
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        assert (await clinic.events("train-delivered"))[-1]["pulses"] == 30
        (observed,) = await clinic.events("unauthorised-pulse-observed")
        assert (observed["pulses"], observed["device_total_pulses"]) == (3, 63)


@pytest.mark.invariant("INV-9")
async def test_a_counter_that_started_anew_leaves_the_outcome_unknown(closed_clinic):
    session_id = await crashed_after_authorising(closed_clinic, -30)
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        (unknown,) = await clinic.events("train-outcome-unknown")
        assert (unknown["reason"], unknown["pulses_at_most"]) == ("counter-restarted", 30)
        assert (await clinic.session(session_id))["progress"]["pulses_unknown"] == 30


@pytest.mark.invariant("INV-9")
@pytest.mark.invariant("INV-1")
async def test_another_device_leaves_the_outcome_unknown_and_is_recorded(closed_clinic, tmp_path):
    await crashed_after_authorising(closed_clinic, 0)
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    async with simulated(other_folder, closed_clinic.clock, (7,)) as other:
        closed_clinic.settings = closed_clinic.settings.model_copy(
            update={"rooms": (other.settings.rooms[0].model_copy(update={"room_id": "room-1"}),)}
        )
        async with closed_clinic.opened() as clinic:
            await clinic.ready()
            (unknown,) = await clinic.events("train-outcome-unknown")
            assert unknown["reason"] == "other-device"
            assert [event["stimulator_serial"] for event in await clinic.events("room-opened")] == ["SIM-1", "SIM-7"]


@pytest.mark.invariant("INV-1")
async def test_going_down_in_mid_train_loses_no_pulse(closed_clinic):
    async with closed_clinic.opened() as clinic:
        session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
        await clinic.until(lambda: clinic.simulator.running, "a train under way")
    assert not closed_clinic.simulator.enabled
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        session = await clinic.session(session_id)
        assert session["state"] == "interrupted"
        recorded = session["progress"]["pulses_delivered"]
        observed = sum(event["pulses"] for event in await clinic.events("unauthorised-pulse-observed"))
        assert recorded + observed == clinic.simulator.total_pulses
        assert observed == 0


@pytest.mark.invariant("INV-1")
@pytest.mark.hazard("HZ-08")
async def test_pulses_while_the_node_was_down_are_unauthorised_and_latch(closed_clinic):
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
    closed_clinic.simulator.panel_enable(enabled=True)
    closed_clinic.simulator.panel_fire()
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        assert not clinic.simulator.enabled
        (observed,) = await clinic.events("unauthorised-pulse-observed")
        assert (observed["pulses"], observed["session_id"]) == (1, None)
        assert (await clinic.room_view())["latch"]["reason"] == "unauthorised-pulse"


async def test_a_restart_without_a_session_latches_nothing_and_records_nothing_new(closed_clinic):
    for _ in range(2):
        async with closed_clinic.opened() as clinic:
            await clinic.ready()
            assert await clinic.names() == ["room-opened"]
            assert (await clinic.room_view())["latch"] is None


@pytest.mark.invariant("INV-7")
async def test_a_restart_with_a_session_that_was_only_opened_latches_too(closed_clinic):
    async with closed_clinic.opened() as clinic:
        session_id = await clinic.prepare()
        await clinic.open(session_id)
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        assert (await clinic.room_view())["latch"]["reason"] == "service-restart"
        assert (await clinic.session(session_id))["state"] == "opened"


# --- the link


@pytest.fixture
async def cabled(tmp_path):
    """A room node whose device hangs on a cable that can be cut or go deaf."""
    async with simulated(tmp_path, fast_clock(8)) as plain, cable_to(plain.settings.rooms[0].address) as cable:
        clinic = Clinic(tmp_path, plain.clock, {"room-1": cable.address})
        clinic.simulator, clinic.folder, clinic.cable = plain.simulator, tmp_path, cable
        async with clinic.opened():
            await clinic.ready()
            yield clinic


@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-7")
@pytest.mark.hazard("HZ-09")
async def test_a_cut_link_latches_and_the_train_is_closed_from_the_counter(cabled):
    clinic = cabled
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    clinic.cable.cut()
    await clinic.until_latched("link-lost")
    await clinic.until_event("train-delivered")
    await clinic.ready()
    (delivered,) = await clinic.events("train-delivered")
    assert delivered["pulses"] == clinic.simulator.total_pulses
    assert delivered["evidence"] == "counter"
    session = await clinic.session(session_id)
    assert (session["state"], session["reason"]) == ("interrupted", "link-lost")
    assert len(firing_frames(clinic.folder)) == 1
    assert [event["kind"] for event in await clinic.events("device-fault")] == ["link-lost"]
    assert (await clinic.post("/rooms/room-1/reset", {"reason": "link-restored"})).status_code == 200


@pytest.mark.invariant("INV-9")
@pytest.mark.hazard("HZ-11")
@pytest.mark.requirement("ST-12")
async def test_a_train_whose_answers_are_lost_is_never_fired_again_and_counts_as_unknown(cabled):
    clinic = cabled
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    clinic.cable.deaf = True
    clinic.cable.cut()
    await clinic.until_latched("link-lost")
    refused = await clinic.post("/rooms/room-1/reset", {"reason": "link-restored"})
    assert refused.json()["type"].endswith("room-busy")
    assert (await clinic.ask(session_id, "stop", reason="technical")).json()["state"] == "closed"
    (closed,) = await clinic.events("session-closed")
    assert (closed["outcome"], closed["pulses_unknown"]) == ("partial", 40)
    clinic.cable.deaf = False
    clinic.cable.cut()
    await clinic.until(lambda: clinic.room.link.up, "link up")
    assert len(firing_frames(clinic.folder)) == 1
    assert await clinic.events("unauthorised-pulse-observed") == []


async def test_a_link_lost_without_a_session_latches_nothing(cabled):
    cabled.cable.cut()
    await cabled.until(lambda: not cabled.room.link.up, "link down")
    await cabled.ready()
    assert (await cabled.room_view())["latch"] is None
    assert (await cabled.open(await cabled.prepare())).status_code == 201
