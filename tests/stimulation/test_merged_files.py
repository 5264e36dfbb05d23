"""One person with two files: what one file was given, lost or withdrew holds for the other once both are merged."""

from datetime import timedelta

import pytest
from tests.stimulation.clinic import firing_frames
from tests.stimulation.story import PATTERN_10HZ, PHYSICIAN, treatment_order
from tests.stimulation.tellers import book, tell_prescription
from tests.stimulation.test_other_rooms import hear, slug
from tests.stimulation.two_nodes import FRESH_S, problem_of, two_nodes

from spoel_common.clock import utc_now
from spoel_stimulation import foreign_events as told
from spoel_stimulation import patient_days, projections, site
from spoel_stimulation.domain.conditions import local_day

SHORT = PATTERN_10HZ.model_copy(update={"bursts_per_train": 30, "trains": 3, "train_interval_s": 10.0})
ONE_A_DAY = {"max_pulses_per_day": 100, "min_pause_between_sessions_s": 0.0}
OTHER = {"case_id": "case-2", "patient_id": "patient-2"}
BOOKED = {**OTHER, "prescription_id": "prescription-2"}


async def merged(clinic, patient_id="patient-2", into_patient_id="patient-1"):
    await clinic.tell(told.PatientMerged(patient_id=patient_id, into_patient_id=into_patient_id))


async def with_another_file(clinic, **limits):
    """Tell all that sessions of two files need; return the booking of the first in room-1."""
    order = treatment_order(SHORT, **(limits or ONE_A_DAY))
    session_id = await clinic.prepare(order)
    await clinic.tell_case(**OTHER)
    await clinic.tell_prescription(order, case_id="case-2", prescription_id="prescription-2")
    return session_id


async def opened_elsewhere(clinic):
    """Book and open a session of the other file in room-2."""
    session_id = await clinic.book(room_id="room-2", **BOOKED)
    return session_id, await clinic.open(session_id, room_id="room-2")


@pytest.mark.hazard("HZ-14")
@pytest.mark.requirement("ST-12")
async def test_a_second_room_refuses_for_the_pulses_of_the_other_file_once_the_merge_arrives(two_rooms):
    clinic = two_rooms
    first = await clinic.started(await with_another_file(clinic))
    await clinic.until_state(first, "closed")
    second, answer = await opened_elsewhere(clinic)
    assert answer.status_code == 201  # two persons, as far as anybody knows
    assert (await clinic.identify(second)).is_success
    assert (await clinic.check_patient(second)).is_success
    assert (await clinic.present(second)).is_success
    await merged(clinic)
    refused = await clinic.arm(second)
    assert (slug(refused), refused.json()["pulses_today"]) == ("daily-maximum-reached", 90)
    assert firing_frames(clinic.folder, 2) == []
    await clinic.ask(second, "stop", reason="other")
    _, again = await opened_elsewhere(clinic)
    assert slug(again) == "daily-maximum-reached"


@pytest.mark.hazard("HZ-14")
@pytest.mark.parametrize(
    "merges",
    [
        [("patient-2", "patient-1")],
        [("patient-1", "patient-2")],
        [("patient-1", "patient-3"), ("patient-2", "patient-4"), ("patient-3", "patient-4")],
        [("patient-3", "patient-4"), ("patient-2", "patient-4"), ("patient-1", "patient-3")],
    ],
)
async def test_the_pause_between_sessions_holds_over_every_chain_of_merges(two_rooms, merges):
    clinic = two_rooms
    for merge in merges:
        await merged(clinic, *merge)
    await with_another_file(clinic, max_pulses_per_day=3_000, min_pause_between_sessions_s=3_600.0)
    now = utc_now(clinic.clock)
    ids = {"session_id": "elsewhere", "patient_id": "patient-1", "train_id": "train-9"}
    await hear(clinic, told.TrainAuthorised(**ids, pulses=10, planned_onset_at=now - timedelta(minutes=59)))
    _, refused = await opened_elsewhere(clinic)
    assert slug(refused) == "too-soon-after-session"


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-08")
async def test_what_no_train_of_the_other_file_accounts_for_and_its_single_stimuli_count_too(two_rooms):
    clinic = two_rooms
    await with_another_file(clinic)
    await merged(clinic)
    ids, now = {"session_id": "elsewhere", "patient_id": "patient-1"}, utc_now(clinic.clock)
    await hear(
        clinic,
        told.UnauthorisedPulseObserved(**ids, pulses=20),
        told.SessionOpened(**ids, room_id="room-9", case_id="case-1", kind="measurement"),
        told.TrainAuthorised(**ids, train_id="stimulus-1", pulses=1, planned_onset_at=now),
    )
    _, refused = await opened_elsewhere(clinic)
    assert (slug(refused), refused.json()["pulses_today"]) == ("daily-maximum-reached", 20)
    async with clinic.runtime.database.read() as conn:
        assert await patient_days.last_stimulus_of(conn, "patient-2") == now


@pytest.mark.hazard("HZ-14")
async def test_a_person_with_two_files_is_in_one_room_at_a_time(two_rooms):
    clinic = two_rooms
    first = await with_another_file(clinic)
    await merged(clinic)
    assert (await clinic.open(first)).status_code == 201
    _, refused = await opened_elsewhere(clinic)
    assert slug(refused) == "room-busy"
    assert "room-1" in refused.json()["detail"]


@pytest.mark.hazard("HZ-02")
@pytest.mark.hazard("HZ-14")
async def test_a_booking_of_the_other_file_in_a_room_that_is_not_heard_keeps_the_person_there(two_rooms):
    clinic = two_rooms
    session_id = await with_another_file(clinic)
    elsewhere = {"room_id": "room-9", "strip": None}
    await clinic.book(**elsewhere, **BOOKED)
    await merged(clinic)
    refused = await clinic.open(session_id)
    assert (slug(refused), refused.json()["room_id"]) == ("leased-elsewhere", "room-9")
    async with clinic.runtime.database.read() as conn:
        booking = await projections.booking_of(conn, session_id)
        assert await site.other_treatments_that_day(conn, booking) == 1


@pytest.mark.hazard("HZ-16")
@pytest.mark.parametrize("released_as", ["patient-1", "patient-2"])
async def test_a_loss_of_consciousness_in_the_other_file_stops_the_session_when_the_merge_arrives(
    slow_clinic, released_as
):
    clinic = slow_clinic
    order = treatment_order(PATTERN_10HZ, max_pulses_per_day=100_000, min_pause_between_sessions_s=0.0)
    session_id = await clinic.started(await clinic.prepare(order))
    await hear(clinic, told.AdverseEventReported(patient_id="patient-2", adverse_event_id="adverse-2"))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    await merged(clinic)
    session = await clinic.until_state(session_id, "closed")
    assert session["reason"] == "patient-blocked"
    assert not clinic.simulator.enabled
    assert slug(await clinic.open(await clinic.book())) == "patient-blocked"
    released = await clinic.post(f"/patients/{released_as}/release", {"reason": "seizure-excluded"}, PHYSICIAN)
    assert released.json()["adverse_event_ids"] == ["adverse-2"]
    assert (await clinic.open(await clinic.book())).status_code == 201


@pytest.mark.hazard("HZ-16")
async def test_a_loss_that_the_journal_does_not_have_yet_is_looked_for_in_every_file_of_the_person(two_rooms):
    clinic = two_rooms
    lost_in = await with_another_file(clinic)
    async with clinic.runtime.database.read() as conn:
        assert await projections.sessions_of(conn, "patient-2", {lost_in}) == []
    await merged(clinic)
    async with clinic.runtime.database.read() as conn:
        assert await projections.sessions_of(conn, "patient-2", {lost_in}) == [lost_in]


@pytest.mark.hazard("HZ-15")
@pytest.mark.hazard("HZ-14")
async def test_an_answer_that_rules_out_the_day_rules_it_out_for_the_other_file(two_rooms):
    clinic = two_rooms
    await with_another_file(clinic)
    day = local_day(utc_now(clinic.clock))
    await hear(
        clinic,
        told.DailyCheckAnswered(session_id="x", patient_id="patient-1", day=day, outcome="no-session-today"),
    )
    await merged(clinic)
    _, refused = await opened_elsewhere(clinic)
    assert slug(refused) == "no-session-today"


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
async def test_a_withdrawal_in_a_room_stops_the_other_file_until_intake_has_recorded_it(two_rooms):
    clinic = two_rooms
    first = await with_another_file(clinic)
    await merged(clinic)
    second = await clinic.armed(await clinic.book(room_id="room-2", **BOOKED), room_id="room-2")
    assert (await clinic.ask(first, "withdraw-consent")).is_success
    assert (await clinic.until_state(second, "closed"))["reason"] == "consent-withdrawn"
    assert not clinic.simulators[1].enabled
    _, refused = await opened_elsewhere(clinic)
    assert slug(refused) == "consent-withdrawn"
    (withdrawal,) = [event for event in await clinic.events() if "consent-withdrawn-in-room" in event.type]
    now = utc_now(clinic.clock)
    recorded = {"withdrawn_at": now, "room_event_id": withdrawal.id}
    await clinic.tell(
        told.ConsentWithdrawn(**OTHER, withdrawn_at=now),
        told.ConsentWithdrawn(case_id="case-1", patient_id="patient-1", **recorded),
    )
    _, refused = await opened_elsewhere(clinic)
    assert slug(refused) == "consent-withdrawn"
    await clinic.tell_case(**OTHER)  # asked again, in this file
    _, answer = await opened_elsewhere(clinic)
    assert answer.status_code == 201


# --- two nodes, one of them cut off


@pytest.fixture
async def nodes(tmp_path, site, connect, nats_server, open_database, new_sqlite, background):
    async def new_database():
        return await open_database(new_sqlite())

    async with two_nodes(tmp_path, site, connect, nats_server, new_database, background) as both:
        yield both


async def tell_other_file(nodes):
    """Have intake and planning tell the other file, with one treatment a day; return its booking."""
    now, about = utc_now(nodes.second.clock), ("case", "case-2")
    await nodes.intake.tell(about, "indication-decided", **OTHER, decision="indicated", sealed_reason=None)
    await nodes.intake.tell(about, "consent-given", **OTHER, given_at=now.isoformat(), form_version="1")
    limits = {"max_pulses_per_day": PATTERN_10HZ.pulses, "min_pause_between_sessions_s": 0.0}
    await tell_prescription(nodes.planning, OTHER, "prescription-2", limits)
    return await book(nodes.second, nodes.planning, nodes.broker, "room-2", OTHER, "prescription-2")


async def seated(clinic, session_id):
    """Do what comes between opening and arming."""
    for answer in (
        await clinic.identify(session_id),
        await clinic.check_patient(session_id),
        await clinic.present(session_id),
    ):
        assert answer.is_success, answer.text


@pytest.mark.hazard("HZ-14")
@pytest.mark.requirement("ST-03")
async def test_what_a_room_gave_while_it_was_cut_off_counts_for_the_other_file_at_sync(nodes):
    first, second = nodes.first, nodes.second
    here = await nodes.book(first, "room-1")
    await first.until(lambda: here in first.node.strips["room-1"]._kept, "the strip")
    there = await tell_other_file(nodes)
    await nodes.opens(second, there, "room-2")
    await seated(second, there)
    await nodes.cut()
    assert (await first.open(here, consent_asked_again=True)).status_code == 201
    await seated(first, here)
    assert (await first.arm(here)).json()["outcome"] == "done"
    assert (await first.ask(here, "start")).status_code == 200
    await first.until_event("train-delivered")
    await first.ask(here, "stop", reason="other")
    merged = {"patient_id": "patient-1", "into_patient_id": "patient-2", "ground": "wrong-bsn", "sealed_reason": "x"}
    await nodes.intake.tell(("patient", "patient-1"), "patient-merged", **merged)

    async def day_is_full():
        shown = (await second.get(f"/sessions/{there}/conditions")).json()["conditions"]
        (day,) = [each for each in shown if each["name"] == "day"]
        return (day["problem"] or "").endswith("daily-maximum-reached")

    source = nodes.intake.store.name.source
    await second.until(lambda: second.runtime.known_of(source).age_s < FRESH_S, "the merge")
    assert not await day_is_full()
    await nodes.mend()
    await second.until(day_is_full, "the other file's pulses of the room that was cut off")
    assert problem_of(await second.arm(there)) == "daily-maximum-reached"
    assert firing_frames(second.folder, 2) == []
