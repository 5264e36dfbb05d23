"""Bookings: orders, rooms, devices, and what else the patient has."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.planning.story import NOW, ROOM, RULES, Story, later

from spoel_planning.commands import CancelBooking, WithdrawPrescription
from spoel_planning.domain import booking, prescribing
from spoel_planning.domain.known import PatientSlot
from spoel_planning.domain.refusals.booking import (
    BookingAlreadyCancelled,
    BookingOver,
    BookingUnderWay,
    BookingUnknown,
    CourseComplete,
    DayMaximumReached,
    DeviceDiffersFromThreshold,
    PatientBookedElsewhere,
    PauseBetweenSessionsTooShort,
    StartNotBookable,
)
from spoel_planning.domain.refusals.knowing import (
    ConsentIsWithdrawn,
    ConsentNotGiven,
    IndicationNotDecided,
    NotIndicated,
)
from spoel_planning.domain.refusals.measuring import (
    MeasurementOrderNotSigned,
    MeasurementOrderOtherDay,
    MeasurementOrderUnknown,
    ThresholdOutdated,
)
from spoel_planning.domain.refusals.prescribing import (
    PrescriptionIsWithdrawn,
    PrescriptionNotSigned,
    PrescriptionUnknown,
)

TREATMENT = {"kind": "treatment", "prescription_id": "prescription-1"}
MEASUREMENT = {"kind": "measurement", "measurement_order_id": "order-1"}


def slot(starts_at, ends_at, **changes) -> PatientSlot:
    facts = {
        "session_id": "other",
        "room_id": "room-2",
        "kind": "treatment",
        "local_day": starts_at.date(),
        "pulses": 3000,
        "min_pause_s": 14_400.0,
        **changes,
    }
    return PatientSlot(starts_at=starts_at, ends_at=ends_at, **facts)


@pytest.mark.requirement("PL-08")
def test_a_treatment_is_booked_under_its_signed_version(signed):
    booked = signed.book("s-1", starts_at=later(hours=1), **TREATMENT)
    event = booked.event
    assert (event.prescription_id, event.prescription_version, event.course_id) == ("prescription-1", 1, "course-1")
    assert event.measurement_order_id is None
    assert event.ends_at - event.starts_at == timedelta(seconds=600 + 74 * 30 + 4)
    assert (booked.pulses, booked.min_pause_s) == (3000, 14_400)


@pytest.mark.requirement("PL-08")
def test_a_measurement_is_booked_under_its_signed_order(story):
    story.order()
    story.sign_order()
    booked = story.book("s-1", **MEASUREMENT)
    assert booked.event.measurement_order_id == "order-1"
    assert booked.event.starts_at == NOW
    assert booked.event.ends_at - NOW == timedelta(seconds=900 + 75 * 5)
    assert booked.pulses == 0


@pytest.mark.requirement("PL-10")
def test_an_unsigned_prescription_is_not_booked(drafted):
    with pytest.raises(PrescriptionNotSigned):
        drafted.book("s-1", **TREATMENT)


@pytest.mark.requirement("PL-10")
def test_a_superseded_prescription_is_not_booked(signed):
    signed.change(percent_rmt=110.0)
    with pytest.raises(PrescriptionNotSigned, match="Version 2"):
        signed.book("s-1", **TREATMENT)
    signed.sign(2)
    assert signed.book("s-1", **TREATMENT).event.prescription_version == 2


@pytest.mark.requirement("PL-10")
def test_a_withdrawn_prescription_is_not_booked(signed):
    command = WithdrawPrescription(reason_code="patient-wish")
    signed.tell(prescribing.withdraw_prescription(signed.plan, signed.on, command, "prescription-1"))
    with pytest.raises(PrescriptionIsWithdrawn):
        signed.book("s-1", **TREATMENT)


def test_an_unknown_prescription_or_order_is_not_booked(signed):
    with pytest.raises(PrescriptionUnknown):
        signed.book("s-1", kind="treatment", prescription_id="prescription-9")
    with pytest.raises(MeasurementOrderUnknown):
        signed.book("s-1", kind="measurement", measurement_order_id="order-9")


@pytest.mark.requirement("PL-10")
def test_an_unsigned_measurement_order_is_not_booked(story):
    story.order()
    with pytest.raises(MeasurementOrderNotSigned):
        story.book("s-1", **MEASUREMENT)


@pytest.mark.requirement("ST-02")
@pytest.mark.hazard("HZ-22")
@pytest.mark.parametrize(
    ("starts_at", "holds"),
    [
        (datetime(2026, 11, 22, 22, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), False),
        (datetime(2026, 11, 23, 10, 0, tzinfo=UTC), False),
    ],
)
def test_a_measurement_order_holds_on_its_local_day_only(story, starts_at, holds):
    story.order()
    story.sign_order()
    if holds:
        story.book("s-1", starts_at=starts_at, **MEASUREMENT)
    else:
        with pytest.raises(MeasurementOrderOtherDay):
            story.book("s-1", starts_at=starts_at, **MEASUREMENT)


@pytest.mark.requirement("IN-11")
@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"consent": None}, ConsentNotGiven),
        ({"consent": "withdrawn"}, ConsentIsWithdrawn),
        ({"decision": None}, IndicationNotDecided),
        ({"decision": "not-indicated"}, NotIndicated),
    ],
)
def test_nothing_is_booked_without_consent_and_indication(signed, changes, refusal):
    with pytest.raises(refusal):
        signed.known(**changes).book("s-1", **TREATMENT)


@pytest.mark.hazard("HZ-04")
@pytest.mark.requirement("PL-08")
@pytest.mark.parametrize("field", ["stimulator_model", "coil_model"])
def test_a_room_with_another_device_is_refused(signed, field):
    room = ROOM.model_copy(update={field: "MagPro X100"})
    with pytest.raises(DeviceDiffersFromThreshold, match=field):
        signed.book("s-1", room=room, **TREATMENT)
    with pytest.raises(DeviceDiffersFromThreshold):
        signed.book("s-1", room=room, **MEASUREMENT)


@pytest.mark.hazard("HZ-06")
@pytest.mark.requirement("PL-08")
def test_a_treatment_is_only_booked_where_the_threshold_still_holds(signed):
    signed.book("s-1", starts_at=later(days=14), **TREATMENT)
    with pytest.raises(ThresholdOutdated):
        signed.book("s-2", starts_at=later(days=14, seconds=1), **TREATMENT)


@pytest.mark.hazard("HZ-06")
def test_a_treatment_is_not_booked_on_a_threshold_measured_anew(signed):
    signed.find_threshold(55, number=2)
    with pytest.raises(ThresholdOutdated):
        signed.book("s-1", **TREATMENT)


@pytest.mark.parametrize(
    ("delta", "allowed"),
    [({"seconds": -300}, True), ({"seconds": -301}, False), ({"days": 365, "seconds": 1}, False)],
)
def test_a_start_lies_neither_in_the_past_nor_too_far_ahead(story, delta, allowed):
    story.order()
    story.sign_order()
    if allowed:
        story.book("s-1", starts_at=later(**delta), **MEASUREMENT)
    else:
        with pytest.raises(StartNotBookable):
            story.book("s-1", starts_at=later(**delta), **MEASUREMENT)


@pytest.mark.requirement("PL-08")
@pytest.mark.hazard("HZ-14")
def test_a_patient_is_in_one_room_at_a_time(signed):
    other = slot(later(minutes=30), later(minutes=60), kind="measurement", pulses=0, min_pause_s=0.0)
    with pytest.raises(PatientBookedElsewhere, match="room-2"):
        signed.book("s-1", slots=[other], starts_at=later(minutes=0), **TREATMENT)
    signed.book("s-1", slots=[other], starts_at=later(minutes=60), **TREATMENT)


@pytest.mark.requirement("PL-08")
@pytest.mark.hazard("HZ-14")
@pytest.mark.parametrize("direction", [-1, 1])
def test_the_pause_between_two_treatments_holds_before_and_after(signed, direction):
    duration = timedelta(seconds=600 + 74 * 30 + 4)
    pause = timedelta(hours=4)
    start = later(days=1)
    edge = start - pause - duration if direction < 0 else start + duration + pause
    too_close = edge - direction * timedelta(seconds=1)
    another_day = later(days=5).date()
    signed.book("s-1", slots=[slot(edge, edge + duration, local_day=another_day)], starts_at=start, **TREATMENT)
    with pytest.raises(PauseBetweenSessionsTooShort):
        signed.book("s-2", slots=[slot(too_close, too_close + duration)], starts_at=start, **TREATMENT)


def test_a_measurement_needs_no_pause_from_a_treatment(signed):
    other = slot(later(minutes=-40), later(minutes=0))
    signed.order("order-2")
    signed.sign_order("order-2")
    signed.book("s-1", slots=[other], kind="measurement", measurement_order_id="order-2")


@pytest.mark.hazard("HZ-14")
@pytest.mark.requirement("ST-12")
def test_the_days_maximum_holds_over_all_rooms(signed):
    morning = slot(later(hours=-9), later(hours=-8))
    with pytest.raises(DayMaximumReached, match="3000"):
        signed.book("s-1", slots=[morning], starts_at=later(hours=8), **TREATMENT)
    signed.book("s-1", slots=[morning], starts_at=later(days=1), **TREATMENT)


@pytest.mark.hazard("HZ-14")
def test_a_session_that_never_started_counts_for_nothing(signed):
    morning = slot(later(hours=-2), later(hours=-1), pulses=0)
    signed.book("s-1", slots=[morning], **TREATMENT)


def cancel(story: Story, session_id: str = "s-1", progress: str = "not-begun"):
    command = CancelBooking(reason_code="patient-cancelled")
    return story.tell(booking.cancel(story.plan, story.on, command, session_id, progress))


def test_a_booking_is_cancelled_once(signed):
    signed.book("s-1", **TREATMENT)
    (cancelled,) = cancel(signed)
    assert (cancelled.session_id, cancelled.room_id) == ("s-1", "room-1")
    with pytest.raises(BookingAlreadyCancelled, match="patient-cancelled"):
        cancel(signed)


def test_a_session_that_is_over_is_not_cancelled(signed):
    signed.book("s-1", **TREATMENT)
    with pytest.raises(BookingOver):
        cancel(signed, progress="over")


def test_a_session_that_has_begun_is_not_cancelled(signed):
    signed.book("s-1", **TREATMENT)
    with pytest.raises(BookingUnderWay):
        cancel(signed, progress="under-way")


@pytest.mark.invariant("INV-2")
@pytest.mark.requirement("PL-10")
def test_no_more_sessions_are_booked_than_were_signed(with_threshold):
    with_threshold.draft(sessions=2)
    with_threshold.sign()
    slots = []
    for number, pulses in enumerate((3000, 0, 3000)):
        start = later(days=1 + number)
        event = with_threshold.book(f"s-{number}", slots=slots, starts_at=start, **TREATMENT).event
        slots.append(slot(start, event.ends_at, session_id=event.session_id, pulses=pulses))
    with pytest.raises(CourseComplete, match="2 of the 2"):
        with_threshold.book("s-4", slots=slots, starts_at=later(days=6), **TREATMENT)
    with_threshold.change(sessions=3)
    with_threshold.sign(2)
    with_threshold.book("s-4", slots=slots, starts_at=later(days=6), **TREATMENT)


def test_an_unknown_booking_is_not_cancelled(signed):
    with pytest.raises(BookingUnknown):
        cancel(signed, "s-9")


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "treatment"},
        {"kind": "measurement"},
        {"kind": "treatment", "measurement_order_id": "order-1"},
        {"kind": "measurement", "measurement_order_id": "order-1", "prescription_id": "prescription-1"},
    ],
)
def test_a_booking_names_the_one_order_of_its_kind(story, fields):
    with pytest.raises(ValueError, match="names measurement_order_id only"):
        story.book("s-1", **fields)


def test_the_rules_ask_for_a_margin_around_every_session():
    assert RULES.booking.treatment_set_up_s > 0
    assert RULES.booking.measurement_set_up_s > 0
