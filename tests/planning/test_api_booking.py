"""Bookings over HTTP: rooms, devices, consent, and what else room and patient have."""

import asyncio
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from tests.planning.clinic import event_names
from tests.planning.story import NOW

from spoel_planning.tables import booked_sessions

CASE = "/cases/case-1"
TEN_HZ = {
    "pulses_per_burst": 1,
    "bursts_per_train": 40,
    "burst_interval_s": 0.1,
    "trains": 75,
    "train_interval_s": 30.0,
}


async def test_a_room_that_was_not_heard_of_is_refused_with_those_that_are_known(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {"room_id": "room-9", "kind": "treatment", "prescription_id": prescription_id}
    problem = await ready_clinic.refused("room-unknown-here", f"{CASE}/bookings", body)
    assert "room-1" in problem["detail"]


@pytest.mark.hazard("HZ-04")
async def test_a_room_with_another_coil_is_refused(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    await ready_clinic.hear_room("room-1", coil_model="Cool-B35")
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    await ready_clinic.refused("device-differs-from-threshold", f"{CASE}/bookings", body)


@pytest.mark.requirement("IN-11")
async def test_a_withdrawn_consent_stops_bookings_until_it_is_given_again(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    await ready_clinic.hear_case("consent-withdrawn")
    await ready_clinic.refused("consent-withdrawn", f"{CASE}/bookings", body)
    await ready_clinic.hear_case("consent-given")
    await ready_clinic.done(f"{CASE}/bookings", body)


@pytest.mark.requirement("PL-08")
async def test_a_room_takes_one_patient_at_a_time_until_the_session_is_over(clinic):
    await clinic.hear_treatable("case-2", "patient-2")
    first, second = await clinic.sign_measurement(), await clinic.sign_measurement("case-2")
    booked = await clinic.done(
        f"{CASE}/bookings", {"room_id": "room-1", "kind": "measurement", "measurement_order_id": first}
    )
    body = {"room_id": "room-1", "kind": "measurement", "measurement_order_id": second}
    problem = await clinic.refused("slot-taken", "/cases/case-2/bookings", body)
    assert problem["free_at"]
    await clinic.hear_closed(booked["session_id"], at=NOW - timedelta(seconds=1))
    await clinic.done("/cases/case-2/bookings", body)


@pytest.mark.requirement("PL-08")
@pytest.mark.hazard("HZ-14")
async def test_a_patient_with_two_cases_is_in_one_room_at_a_time(clinic):
    await clinic.hear_room("room-2")
    await clinic.hear_treatable("case-2", "patient-1")
    first, second = await clinic.sign_measurement(), await clinic.sign_measurement("case-2")
    await clinic.done(f"{CASE}/bookings", {"room_id": "room-1", "kind": "measurement", "measurement_order_id": first})
    body = {"room_id": "room-2", "kind": "measurement", "measurement_order_id": second}
    await clinic.refused("patient-booked-elsewhere", "/cases/case-2/bookings", body)
    assert await event_names(clinic, "calendar", "room-2") == []


@pytest.mark.requirement("PL-08")
@pytest.mark.hazard("HZ-14")
async def test_of_two_bookings_of_a_patient_at_the_same_moment_one_is_refused(clinic_on_both):
    clinic = clinic_on_both
    await clinic.hear_treatable("case-2", "patient-1")
    orders = {"case-1": await clinic.sign_measurement(), "case-2": await clinic.sign_measurement("case-2")}
    answers = await asyncio.gather(
        *(
            clinic.post(
                f"/cases/{case_id}/bookings",
                {"room_id": room_id, "kind": "measurement", "measurement_order_id": orders[case_id]},
            )
            for case_id, room_id in (("case-1", "room-1"), ("case-2", "room-2"))
        )
    )
    assert sorted(each.status_code for each in answers) == [201, 409]
    (refused,) = [each.json() for each in answers if each.status_code == 409]
    assert refused["type"] == "urn:spoel:problem:patient-booked-elsewhere"


async def hear_merged(clinic, patient_id, into_patient_id):
    data = {"patient_id": patient_id, "into_patient_id": into_patient_id}
    await clinic.hear("spoel.intake.patient-merged.v1", patient_id, data)


@pytest.mark.requirement("PL-08")
@pytest.mark.requirement("IN-15")
@pytest.mark.hazard("HZ-14")
async def test_two_files_of_one_person_are_in_one_room_at_a_time_from_the_merge_on(clinic):
    await clinic.hear_room("room-2")
    await clinic.hear_treatable("case-2", "patient-2")
    first, second = await clinic.sign_measurement(), await clinic.sign_measurement("case-2")
    await clinic.done(f"{CASE}/bookings", {"room_id": "room-1", "kind": "measurement", "measurement_order_id": first})
    await hear_merged(clinic, "patient-1", "patient-3")
    await hear_merged(clinic, "patient-2", "patient-3")
    body = {"room_id": "room-2", "kind": "measurement", "measurement_order_id": second}
    await clinic.refused("patient-booked-elsewhere", "/cases/case-2/bookings", body)


@pytest.mark.requirement("PL-08")
@pytest.mark.hazard("HZ-14")
async def test_of_two_bookings_of_two_files_of_one_person_at_the_same_moment_one_is_refused(clinic_on_both):
    clinic = clinic_on_both
    await clinic.hear_treatable("case-2", "patient-2")
    await hear_merged(clinic, "patient-1", "patient-2")
    orders = {"case-1": await clinic.sign_measurement(), "case-2": await clinic.sign_measurement("case-2")}
    answers = await asyncio.gather(
        *(
            clinic.post(
                f"/cases/{case_id}/bookings",
                {"room_id": room_id, "kind": "measurement", "measurement_order_id": orders[case_id]},
            )
            for case_id, room_id in (("case-1", "room-1"), ("case-2", "room-2"))
        )
    )
    assert sorted(each.status_code for each in answers) == [201, 409]


@pytest.mark.requirement("PL-08")
async def test_of_two_bookings_of_a_room_at_the_same_moment_one_is_refused(clinic_on_both):
    clinic = clinic_on_both
    await clinic.hear_treatable("case-2", "patient-2")
    orders = {"case-1": await clinic.sign_measurement(), "case-2": await clinic.sign_measurement("case-2")}
    answers = await asyncio.gather(
        *(
            clinic.post(
                f"/cases/{case_id}/bookings",
                {"room_id": "room-1", "kind": "measurement", "measurement_order_id": order_id},
            )
            for case_id, order_id in orders.items()
        )
    )
    assert sorted(each.status_code for each in answers) == [201, 409]
    (refused,) = [each.json() for each in answers if each.status_code == 409]
    assert refused["type"] in {"urn:spoel:problem:slot-taken", "urn:spoel:problem:version-conflict"}


@pytest.mark.hazard("HZ-14")
async def test_what_is_booked_of_another_file_of_the_person_counts_in_the_day_and_in_the_pauses(ready_clinic):
    clinic = ready_clinic
    other = {"session_id": "other", "patient_id": "patient-2", "room_id": "room-2", "kind": "treatment"}
    times = {"starts_at": NOW - timedelta(hours=1), "ends_at": NOW - timedelta(minutes=30), "local_day": NOW.date()}
    async with clinic.runtime.database.write() as conn:
        row = {**other, **times, "pulses": 3_000, "min_pause_s": 0.0, "cancelled": False}
        await conn.execute(sa.insert(booked_sessions).values(row))
    prescription_id = await clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    await hear_merged(clinic, "patient-2", "patient-1")
    await clinic.refused("session-pause-too-short", f"{CASE}/bookings", body)
    tonight = (NOW + timedelta(hours=8)).isoformat()
    await clinic.refused("day-maximum-reached", f"{CASE}/bookings", {**body, "starts_at": tonight})


@pytest.mark.hazard("HZ-14")
async def test_a_second_treatment_of_the_day_is_refused(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    first = await ready_clinic.done(f"{CASE}/bookings", body)
    tonight = (NOW + timedelta(hours=8)).isoformat()
    await ready_clinic.refused("day-maximum-reached", f"{CASE}/bookings", {**body, "starts_at": tonight})
    await ready_clinic.hear_closed(first["session_id"], at=NOW + timedelta(minutes=10), outcome="partial")
    soon = (NOW + timedelta(hours=1)).isoformat()
    await ready_clinic.refused("session-pause-too-short", f"{CASE}/bookings", {**body, "starts_at": soon})


async def test_a_session_that_never_started_leaves_the_day_as_it_was(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    first = await ready_clinic.done(f"{CASE}/bookings", body)
    await ready_clinic.hear_closed(first["session_id"], at=NOW, outcome="not-started")
    await ready_clinic.done(f"{CASE}/bookings", body)


async def test_a_cancelled_booking_gives_room_and_patient_back(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    first = await ready_clinic.done(f"{CASE}/bookings", body)
    path = f"{CASE}/bookings/{first['session_id']}/cancellation"
    await ready_clinic.done(path, {"reason_code": "device-unavailable"}, by="tech")
    await ready_clinic.refused("booking-already-cancelled", path, {"reason_code": "device-unavailable"})
    await ready_clinic.refused(
        "booking-unknown", f"{CASE}/bookings/s-9/cancellation", {"reason_code": "device-unavailable"}
    )
    await ready_clinic.done(f"{CASE}/bookings", body)
    assert (await event_names(ready_clinic, "calendar", "room-1"))[-2:] == ["slot-released", "slot-taken"]


async def test_a_session_that_is_over_is_not_cancelled(ready_clinic):
    (booking,) = (await ready_clinic.get(CASE)).json()["bookings"]
    path = f"{CASE}/bookings/{booking['booked']['session_id']}/cancellation"
    await ready_clinic.refused("booking-over", path, {"reason_code": "patient-absent"})


@pytest.mark.hazard("HZ-14")
async def test_a_session_that_the_room_has_begun_is_not_cancelled(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    booked = await ready_clinic.done(f"{CASE}/bookings", body)
    await ready_clinic.hear_opened(booked["session_id"])
    path = f"{CASE}/bookings/{booked['session_id']}/cancellation"
    await ready_clinic.refused("booking-under-way", path, {"reason_code": "patient-absent"})


@pytest.mark.hazard("HZ-14")
async def test_what_a_room_delivered_counts_though_the_booking_was_cancelled_meanwhile(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    booked = await ready_clinic.done(f"{CASE}/bookings", body)
    path = f"{CASE}/bookings/{booked['session_id']}/cancellation"
    await ready_clinic.done(path, {"reason_code": "patient-absent"})
    await ready_clinic.hear_opened(booked["session_id"])
    await ready_clinic.hear_closed(booked["session_id"], at=NOW + timedelta(minutes=10), outcome="partial")
    tonight = {**body, "starts_at": (NOW + timedelta(hours=8)).isoformat()}
    await ready_clinic.refused("day-maximum-reached", f"{CASE}/bookings", tonight)


@pytest.mark.hazard("HZ-14")
async def test_the_pause_counts_from_the_real_end_of_a_session_that_ran_late(ready_clinic):
    half = {"pattern": {**TEN_HZ, "trains": 37}}
    prescription_id = await ready_clinic.sign_prescription(**half)
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    booked = await ready_clinic.done(f"{CASE}/bookings", body)
    late = datetime.fromisoformat(booked["ends_at"]) + timedelta(hours=1)
    await ready_clinic.hear_opened(booked["session_id"])
    await ready_clinic.hear_closed(booked["session_id"], at=late)
    pause = timedelta(hours=4)
    too_soon = {**body, "starts_at": (late + pause - timedelta(seconds=1)).isoformat()}
    await ready_clinic.refused("session-pause-too-short", f"{CASE}/bookings", too_soon)
    await ready_clinic.done(f"{CASE}/bookings", {**body, "starts_at": (late + pause).isoformat()})


async def test_a_start_in_the_past_is_refused(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    body = {
        "room_id": "room-1",
        "kind": "treatment",
        "prescription_id": prescription_id,
        "starts_at": (NOW - timedelta(minutes=10)).isoformat(),
    }
    await ready_clinic.refused("start-not-bookable", f"{CASE}/bookings", body)
