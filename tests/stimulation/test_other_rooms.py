"""What happens to a patient in one room holds in all others: of this node, and of nodes that tell it over NATS."""

from datetime import timedelta

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import PATTERN_10HZ, PHYSICIAN, measurement_order, treatment_order

from spoel_common.clock import utc_now
from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_stimulation import foreign_events as told
from spoel_stimulation import patient_days
from spoel_stimulation.domain.facts import local_day

HOUR = timedelta(hours=1)
UNLIMITED = {"max_pulses_per_day": 100_000, "min_pause_between_sessions_s": 0.0}
AT_MOST_ONE_SESSION = {"max_pulses_per_day": 90, "min_pause_between_sessions_s": 0.0}
SHORT = PATTERN_10HZ.model_copy(update={"bursts_per_train": 30, "trains": 3, "train_interval_s": 10.0})


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


async def in_a_train(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ, **UNLIMITED)))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    return session_id


async def hear(clinic, *events, source="/spoel/local/stimulation/node-2"):
    """Have events of another node arrive, as its projection takes them."""
    now = utc_now(clinic.clock)
    projection = clinic.node.projection_of_rooms()
    envelopes = [
        Envelope(
            id=new_id(),
            source=source,
            type=f"spoel.stimulation.{event.event_name}.v{event.event_version}",
            subject="x",
            time=now,
            aggregatetype="x",
            aggregateversion=1,
            correlationid="test",
            actorid="test",
            site="local",
            data=event.model_dump(mode="json"),
        )
        for event in events
    ]
    async with clinic.runtime.database.write() as conn:
        for envelope, event in zip(envelopes, events, strict=True):
            await projection.apply(conn, envelope, event, b"")
    await projection.after_commit(envelopes)


def lost(adverse_event_id="adverse-2"):
    return told.AdverseEventReported(patient_id="patient-1", adverse_event_id=adverse_event_id)


@pytest.mark.hazard("HZ-16")
async def test_a_loss_in_another_room_stops_this_one_and_a_release_there_frees_it(slow_clinic):
    clinic = slow_clinic
    session_id = await in_a_train(clinic)
    await hear(clinic, lost())
    session = await clinic.until_state(session_id, "closed")
    assert session["reason"] == "patient-blocked"
    assert not clinic.simulator.enabled
    next_id = await clinic.book()
    assert slug(await clinic.open(next_id)) == "patient-blocked"
    await hear(clinic, told.PatientReleased(patient_id="patient-1", adverse_event_ids=("adverse-2",)))
    assert (await clinic.open(next_id)).status_code == 201


@pytest.mark.hazard("HZ-16")
async def test_a_release_that_arrives_before_its_loss_frees_all_the_same(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await hear(clinic, told.PatientReleased(patient_id="patient-1", adverse_event_ids=("adverse-2",)), lost())
    assert (await clinic.open(session_id)).status_code == 201


async def given_elsewhere(clinic, pulses, kind="treatment", delivered=None):
    now = utc_now(clinic.clock)
    ids = {"session_id": "elsewhere", "patient_id": "patient-1"}
    await hear(
        clinic,
        told.SessionOpened(**ids, case_id="case-2", room_id="room-9", kind=kind),
        told.TrainAuthorised(**ids, train_id="train-9", pulses=pulses, planned_onset_at=now),
    )
    if delivered is not None:
        await hear(clinic, told.TrainDelivered(**ids, train_id="train-9", pulses=delivered, ended_at=now))


@pytest.mark.hazard("HZ-14")
@pytest.mark.requirement("ST-12")
async def test_what_another_room_gave_today_counts_here_and_an_unknown_end_counts_as_all(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT, min_pause_between_sessions_s=0.0))
    await given_elsewhere(clinic, 2_911)
    refused = await clinic.open(session_id)
    assert (slug(refused), refused.json()["pulses_today"]) == ("daily-maximum-reached", 2_911)
    await given_elsewhere(clinic, 2_911, delivered=2_910)
    assert (await clinic.open(session_id)).status_code == 201


@pytest.mark.hazard("HZ-14")
@pytest.mark.parametrize(("kind", "delivered"), [("measurement", 1), ("treatment", 0)])
async def test_stimuli_of_a_measurement_and_trains_of_which_nothing_was_given_do_not_count(clinic, kind, delivered):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await given_elsewhere(clinic, 1 if kind == "measurement" else 3_000, kind, delivered)
    assert (await clinic.open(session_id)).status_code == 201


@pytest.mark.requirement("ST-02")
@pytest.mark.requirement("ST-12")
@pytest.mark.parametrize("kind", ["measurement", "treatment"])
async def test_the_shortest_interval_of_stimuli_holds_after_what_another_room_gave(clinic, kind):
    now = utc_now(clinic.clock)
    order = measurement_order(valid_on=local_day(now), min_interval_s=600.0)
    session_id = await clinic.started(await clinic.prepare(order, "measurement"))
    await given_elsewhere(clinic, 1, kind)
    ids = {"session_id": "elsewhere", "patient_id": "patient-1"}
    await hear(clinic, told.TrainAuthorised(**ids, train_id="train-8", pulses=1, planned_onset_at=now - HOUR))
    assert slug(await clinic.ask(session_id, "stimuli", percent_mso=40)) == "stimulus-too-soon"
    assert clinic.simulator.total_pulses == 0


@pytest.mark.hazard("HZ-14")
@pytest.mark.requirement("ST-12")
async def test_the_trains_of_a_search_in_another_room_count(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT, min_pause_between_sessions_s=0.0))
    await given_elsewhere(clinic, 2_911, "measurement")
    assert slug(await clinic.open(session_id)) == "daily-maximum-reached"


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-08")
@pytest.mark.requirement("ST-12")
@pytest.mark.parametrize(("patient_id", "counts"), [("patient-1", True), ("patient-2", False), (None, False)])
async def test_what_another_rooms_device_gave_by_itself_counts_for_the_patient_whose_session_was_open(
    clinic, patient_id, counts
):
    session_id = await clinic.prepare(treatment_order(SHORT, min_pause_between_sessions_s=0.0))
    observed = told.UnauthorisedPulseObserved(session_id="elsewhere", patient_id=patient_id, pulses=2_900)
    await hear(clinic, observed)
    assert (await clinic.open(session_id)).status_code == 201
    await clinic.ask(session_id, "stop", reason="other")
    await hear(clinic, observed.model_copy(update={"pulses": 11}))
    again = await clinic.open(await clinic.book())
    assert again.status_code == (409 if counts else 201)
    assert not counts or (slug(again), again.json()["pulses_today"]) == ("daily-maximum-reached", 2_911)


async def panel_fired(clinic, **limits):
    """Open and arm a session, and have somebody press the device's own button; returns how many pulses that gave."""
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT, **(limits or AT_MOST_ONE_SESSION))))
    clinic.simulator.panel_fire()
    await clinic.until_latched("unauthorised-pulse")
    (observed,) = await clinic.events("unauthorised-pulse-observed")
    assert observed["patient_id"] == "patient-1"
    assert (await clinic.post("/rooms/room-1/reset", {"reason": "device-checked"})).is_success
    return session_id, clinic.simulator.total_pulses


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-08")
async def test_what_the_device_gave_by_itself_counts_in_the_next_session_in_whatever_room(two_rooms):
    clinic = two_rooms
    session_id, pulses = await panel_fired(clinic)
    assert (await clinic.ask(session_id, "stop", reason="technical")).is_success
    refused = await clinic.open(await clinic.book(room_id="room-2"), room_id="room-2")
    assert (slug(refused), refused.json()["pulses_today"]) == ("daily-maximum-reached", pulses)


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-08")
@pytest.mark.requirement("ST-12")
async def test_the_pause_counts_from_what_the_device_gave_by_itself_too(clinic):
    session_id, _ = await panel_fired(clinic, min_pause_between_sessions_s=3_600.0)
    assert (await clinic.arm(session_id)).json()["outcome"] == "done"  # not for the session in which it happened
    assert (await clinic.ask(session_id, "stop", reason="technical")).is_success
    refused = await clinic.open(await clinic.book())
    assert slug(refused) == "too-soon-after-session"


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-08")
@pytest.mark.requirement("ST-12")
async def test_the_pause_counts_from_what_a_device_in_another_room_gave_by_itself(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT, min_pause_between_sessions_s=3_600.0))
    await hear(clinic, told.UnauthorisedPulseObserved(session_id="elsewhere", patient_id="patient-1", pulses=1))
    assert slug(await clinic.open(session_id)) == "too-soon-after-session"


@pytest.mark.hazard("HZ-08")
@pytest.mark.requirement("ST-02")
async def test_the_shortest_interval_of_stimuli_holds_after_what_a_device_gave_by_itself(clinic):
    order = measurement_order(valid_on=local_day(utc_now(clinic.clock)), min_interval_s=600.0)
    session_id = await clinic.started(await clinic.prepare(order, "measurement"))
    await hear(clinic, told.UnauthorisedPulseObserved(session_id="elsewhere", patient_id="patient-1", pulses=1))
    assert slug(await clinic.ask(session_id, "stimuli", percent_mso=40)) == "stimulus-too-soon"
    assert clinic.simulator.total_pulses == 0


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-08")
@pytest.mark.requirement("ST-12")
async def test_what_the_device_gave_by_itself_shortens_the_session_in_which_it_did(clinic):
    session_id, _ = await panel_fired(clinic)
    assert (await clinic.arm(session_id)).json()["outcome"] == "done"
    assert (await clinic.ask(session_id, "start", side_or_site="left")).is_success
    session = await clinic.until_state(session_id, "closed")
    assert session["reason"] == "daily-maximum"
    assert [train["pulses"] for train in await clinic.events("train-delivered")] == [30, 30]


@pytest.mark.hazard("HZ-14")
async def test_two_rooms_of_one_node_share_the_patients_day(two_rooms):
    clinic = two_rooms
    session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
    await clinic.until_state(session_id, "closed")
    other = await clinic.book(room_id="room-2")
    assert slug(await clinic.open(other, room_id="room-2")) == "too-soon-after-session"
    today = local_day(utc_now(clinic.clock))
    async with clinic.runtime.database.read() as conn:
        given = await patient_days.given_to(conn, "patient-1", other, today)
    assert given.pulses_today == 90


@pytest.mark.hazard("HZ-14")
async def test_its_own_events_that_come_back_over_the_network_do_not_count_twice(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    now = utc_now(clinic.clock)
    own = told.TrainAuthorised(session_id="x", patient_id="patient-1", train_id="t", pulses=3_000, planned_onset_at=now)
    await hear(clinic, own, source=clinic.runtime.store.name.source)
    assert (await clinic.open(session_id)).status_code == 201


@pytest.mark.hazard("HZ-16")
@pytest.mark.requirement("ST-03")
async def test_a_loss_in_room_a_blocks_the_patient_in_room_b_and_in_a_room_that_hears_of_it_at_sync(
    tmp_path, site, nats_server, eventually
):
    settings = {"site": site, "nats_url": nats_server.url, "nats_monitor_url": nats_server.monitor_url}
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    clock = fast_clock(8)

    def node(place):
        return simulated(folders[place], clock, store=f"node-{place}", **settings)

    async with node(0) as a, a.opened():
        await a.ready()
        lost = await in_a_train(a)
        async with node(1) as b, b.opened():
            await b.ready()
            await b.prepare(treatment_order(SHORT, **UNLIMITED))
            await a.client.post(f"/sessions/{lost}/loss-of-consciousness")

            async def blocked():
                return slug(await b.open(await b.book())) == "patient-blocked"

            await eventually(blocked, 30.0)
        async with node(2) as c, c.opened():  # it starts only now, and hears what happened while it was away
            await c.ready()
            await c.prepare(treatment_order(SHORT, **UNLIMITED))

            async def answers(status, of_kind=None):
                answer = await c.open(await c.book())
                return answer.status_code == status and (of_kind is None or slug(answer) == of_kind)

            await eventually(lambda: answers(409, "patient-blocked"), 30.0)
            released = await a.post("/patients/patient-1/release", {"reason": "seizure-excluded"}, PHYSICIAN)
            assert released.status_code == 201
            await eventually(lambda: answers(201), 30.0)
