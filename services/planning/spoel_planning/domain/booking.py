"""Decisions on bookings: a session in a room at a time (PL-08)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from spoel_common.events import EventData
from spoel_planning.commands import Book, CancelBooking
from spoel_planning.domain.calendar import overlap
from spoel_planning.domain.catalogue import find_protocol
from spoel_planning.domain.dose import blocks_of
from spoel_planning.domain.known import (
    KnownRoom,
    Occasion,
    PatientSlot,
    Progress,
    check_consent,
    check_indicated,
    local_day,
)
from spoel_planning.domain.pattern import session_s
from spoel_planning.domain.plan import Plan, Prescription
from spoel_planning.domain.prescribing import check_threshold_current
from spoel_planning.domain.refusals.booking import (
    BookingAlreadyCancelled,
    BookingOver,
    BookingUnderWay,
    CourseComplete,
    DayMaximumReached,
    DeviceDiffersFromThreshold,
    PatientBookedElsewhere,
    PauseBetweenSessionsTooShort,
    StartNotBookable,
)
from spoel_planning.domain.refusals.measuring import MeasurementOrderNotSigned, MeasurementOrderOtherDay
from spoel_planning.domain.refusals.prescribing import PrescriptionNotSigned
from spoel_planning.domain.rules import BookingRules, Rules
from spoel_planning.events.booking import SessionBooked, SessionBookingCancelled
from spoel_planning.events.orders import MeasurementOrder, ThresholdKey, TreatmentOrder


class Surroundings(NamedTuple):
    """What a booking has to fit into.

    Attributes:
        room: and the device in it.
        patient_slots: every other session of the patient that will take place or was begun, in all rooms and cases.
        zone: the clinic's time zone.
    """

    room: KnownRoom
    patient_slots: Sequence[PatientSlot]
    zone: ZoneInfo


class Booked(NamedTuple):
    """A booking, and what counts against the patient's day and pauses."""

    event: SessionBooked
    pulses: int
    min_pause_s: float


class _Wanted(NamedTuple):
    key: ThresholdKey
    duration_s: float
    pulses: int
    min_pause_s: float
    day_maximum: int | None
    references: dict[str, str | int | None]


def book(plan: Plan, on: Occasion, command: Book, surroundings: Surroundings, rules: Rules, session_id: str) -> Booked:
    """Book a session; the room's calendar is asked apart.

    Raises:
        IndicationNotDecided, NotIndicated, ConsentNotGiven, ConsentIsWithdrawn: the case may not be treated.
        StartNotBookable: in the past or too far ahead.
        MeasurementOrderUnknown, MeasurementOrderNotSigned, MeasurementOrderOtherDay: no order for it.
        PrescriptionUnknown, PrescriptionIsWithdrawn, PrescriptionNotSigned, ThresholdOutdated: no plan for it.
        CourseComplete: as many sessions as were signed are booked or delivered.
        DeviceDiffersFromThreshold: another stimulator or coil stands in the room (HZ-04).
        PatientBookedElsewhere, PauseBetweenSessionsTooShort, DayMaximumReached: other sessions are in the way.
    """
    check_indicated(on.case)
    check_consent(on.case)
    starts_at = _start(command.starts_at, on.now, rules.booking)
    wanted = (
        _measurement(plan, command.measurement_order_id or "", starts_at, surroundings.zone, rules)
        if command.kind == "measurement"
        else _treatment(plan, command.prescription_id or "", starts_at, surroundings.patient_slots, rules)
    )
    _check_device(wanted.key, surroundings.room)
    ends_at = starts_at + timedelta(seconds=wanted.duration_s)
    _check_patient(wanted, starts_at, ends_at, surroundings)
    event = SessionBooked.model_validate(
        {
            "session_id": session_id,
            "case_id": on.case.case_id,
            "patient_id": on.case.patient_id,
            "room_id": surroundings.room.room_id,
            "kind": command.kind,
            "starts_at": starts_at,
            "ends_at": ends_at,
            **wanted.references,
        }
    )
    return Booked(event, wanted.pulses, wanted.min_pause_s)


def cancel(plan: Plan, on: Occasion, command: CancelBooking, session_id: str, progress: Progress) -> list[EventData]:
    """Cancel a booking that no room has taken up, as far as planning knows.

    Raises:
        BookingUnknown: the case has no such booking.
        BookingAlreadyCancelled: it was cancelled.
        BookingUnderWay: a room has taken it up.
        BookingOver: the session was closed.
    """
    booking = plan.booking(session_id)
    if booking.cancelled is not None:
        raise BookingAlreadyCancelled(f"Session {session_id} was cancelled ({booking.cancelled}).")
    if progress == "under-way":
        raise BookingUnderWay(f"Session {session_id} has begun. Stop it in its room.")
    if progress == "over":
        raise BookingOver(f"Session {session_id} is over; what happened stays as it was recorded.")
    return [
        SessionBookingCancelled(
            session_id=session_id,
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            room_id=booking.booked.room_id,
            reason_code=command.reason_code,
        )
    ]


def _start(starts_at: datetime | None, now: datetime, rules: BookingRules) -> datetime:
    if starts_at is None:
        return now
    earliest = now - timedelta(seconds=rules.start_tolerance_s)
    if not earliest <= starts_at <= now + timedelta(days=rules.max_days_ahead):
        raise StartNotBookable(
            f"starts_at is {starts_at.isoformat()}; it is {now.isoformat()} now, and sessions are booked up to "
            f"{rules.max_days_ahead} days ahead. Give another start, or leave it out to start now.",
            field="starts_at",
        )
    return starts_at


def _measurement(plan: Plan, order_id: str, starts_at: datetime, zone: ZoneInfo, rules: Rules) -> _Wanted:
    ordered = plan.measurement_order(order_id)
    if ordered.signed_by is None:
        raise MeasurementOrderNotSigned(f"Measurement order {order_id} is not signed. A supervisor signs it first.")
    order, day = ordered.order, local_day(starts_at, zone)
    if day != order.valid_on:
        raise MeasurementOrderOtherDay(
            f"Measurement order {order_id} holds on {order.valid_on}; the session would start on {day} "
            f"({zone.key}). Book it on that day, or draft an order for the other."
        )
    return _Wanted(
        key=order,
        duration_s=rules.booking.measurement_set_up_s + order.max_stimuli * _interval_s(order),
        pulses=0 if order.search is None else order.max_stimuli * order.search.pattern.bursts_per_train,
        min_pause_s=0.0,
        day_maximum=None,
        references=_references(measurement_order_id=order_id),
    )


def _interval_s(order: MeasurementOrder) -> float:
    return order.min_interval_s if order.search is None else order.search.pattern.train_interval_s


def _treatment(
    plan: Plan, prescription_id: str, starts_at: datetime, slots: Sequence[PatientSlot], rules: Rules
) -> _Wanted:
    prescription = plan.open_prescription(prescription_id)
    current = prescription.current
    if current.signed_by is None:
        raise PrescriptionNotSigned(
            f"Version {current.version} of this prescription is not signed. A supervisor signs it first.",
            version=current.version,
        )
    order = current.order
    check_threshold_current(plan, order, rules.threshold.validity, starts_at)
    _check_sessions_left(plan, prescription, slots)
    protocol = find_protocol(rules.protocols, order.protocol_id, order.protocol_version)
    return _Wanted(
        key=order,
        duration_s=_session_s(order, rules.booking),
        pulses=order.pulses,
        min_pause_s=protocol.min_pause_between_sessions_s,
        day_maximum=protocol.max_pulses_per_day,
        references=_references(
            prescription_id=prescription_id,
            prescription_version=current.version,
            course_id=prescription.course_id,
        ),
    )


def _session_s(order: TreatmentOrder, times: BookingRules) -> float:
    blocks = blocks_of(order)
    moves_s = (len(blocks) - 1) * times.coil_move_s
    return times.treatment_set_up_s + moves_s + sum(session_s(block.pattern) for block in blocks)


def _check_sessions_left(plan: Plan, prescription: Prescription, slots: Sequence[PatientSlot]) -> None:
    """Refuse more sessions than were signed (INV-2); one that was cancelled or never started is not counted."""
    counted = {each.session_id for each in slots if each.pulses > 0}
    bookings = (each.booked for each in plan.bookings.values())
    of_course = [each for each in bookings if each.prescription_id == prescription.prescription_id]
    used, signed = sum(each.session_id in counted for each in of_course), prescription.current.sessions
    if used >= signed:
        raise CourseComplete(
            f"{used} of the {signed} signed sessions are booked or delivered. Cancel one, or sign a new version with "
            "more.",
            sessions=signed,
        )


def _references(
    measurement_order_id: str | None = None,
    prescription_id: str | None = None,
    prescription_version: int | None = None,
    course_id: str | None = None,
) -> dict[str, str | int | None]:
    return {
        "measurement_order_id": measurement_order_id,
        "prescription_id": prescription_id,
        "prescription_version": prescription_version,
        "course_id": course_id,
    }


def _check_device(key: ThresholdKey, room: KnownRoom) -> None:
    for name in ("stimulator_model", "coil_model"):
        wanted, found = getattr(key, name), getattr(room, name)
        if wanted != found:
            raise DeviceDiffersFromThreshold(
                f"The order is for {name} {wanted}; in room {room.room_id} stands {found}. Book a room with that "
                "device, or measure the threshold with this one.",
                field="room_id",
            )


def _check_patient(wanted: _Wanted, starts_at: datetime, ends_at: datetime, surroundings: Surroundings) -> None:
    for slot in surroundings.patient_slots:
        if overlap(starts_at, ends_at, slot.starts_at, slot.ends_at):
            raise PatientBookedElsewhere(
                f"The patient has a session in room {slot.room_id} from {slot.starts_at:%Y-%m-%d %H:%M} to "
                f"{slot.ends_at:%Y-%m-%d %H:%M} UTC. Choose another time; a session that is over counts no longer when "
                "the news of it arrives.",
                free_at=slot.ends_at.isoformat(),
            )
    if wanted.day_maximum is None:
        return
    treatments = [each for each in surroundings.patient_slots if each.kind == "treatment" and each.pulses > 0]
    _check_pauses(wanted, starts_at, ends_at, treatments)
    day = local_day(starts_at, surroundings.zone)
    that_day = sum(each.pulses for each in treatments if each.local_day == day)
    if that_day + wanted.pulses > wanted.day_maximum:
        raise DayMaximumReached(
            f"{that_day} pulses are booked or delivered on {day} in all rooms; {wanted.pulses} more would pass the "
            f"{wanted.day_maximum} of the protocol. Choose another day."
        )


def _check_pauses(wanted: _Wanted, starts_at: datetime, ends_at: datetime, treatments: Sequence[PatientSlot]) -> None:
    for slot in treatments:
        pause = timedelta(seconds=max(wanted.min_pause_s, slot.min_pause_s))
        if overlap(starts_at - pause, ends_at + pause, slot.starts_at, slot.ends_at):
            raise PauseBetweenSessionsTooShort(
                f"Between two treatments at least {pause} is asked for; the patient has one from "
                f"{slot.starts_at:%Y-%m-%d %H:%M} to {slot.ends_at:%Y-%m-%d %H:%M} UTC. Choose another time.",
            )
