"""One unit of work per command: who may, what is known, decide, append."""

from datetime import date
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from spoel_common.events import EventData
from spoel_common.ids import new_id
from spoel_common.people import Role, acts, check_act
from spoel_common.work import Aggregate, Loaded, Snapshots, Work
from spoel_planning import queries
from spoel_planning.answers import (
    AllocatedAnswer,
    BookingAnswer,
    CancelledAnswer,
    MeasurementOrderAnswer,
    MeasurementSignedAnswer,
    PrescriptionAnswer,
    PrescriptionSignedAnswer,
    PrescriptionWithdrawnAnswer,
    TargetsAnswer,
    ThresholdAnswer,
)
from spoel_planning.commands import (
    Allocate,
    Book,
    CancelBooking,
    EstimateThreshold,
    MeasureHead,
    OrderMeasurement,
    OrderSearch,
    Prescribe,
    SignPrescription,
    Unblind,
    WithdrawPrescription,
)
from spoel_planning.domain import blinding, booking, calendar, measuring, plan, prescribing, searching
from spoel_planning.domain.calendar import Calendar, WantedSlot
from spoel_planning.domain.known import Occasion, known_case, known_room, local_day
from spoel_planning.domain.plan import Plan
from spoel_planning.domain.refusals.knowing import SupervisorMissing
from spoel_planning.domain.rules import Rules
from spoel_planning.events import CALENDAR_EVENTS, PLAN_EVENTS
from spoel_planning.events.measuring import (
    MeasurementOrdered,
    MeasurementOrderSigned,
    TargetCalculated,
    ThresholdEstimated,
)
from spoel_planning.events.orders import MeasurementOrder
from spoel_planning.events.prescribing import (
    AllocationRecorded,
    PrescriptionDrafted,
    PrescriptionSigned,
    PrescriptionWithdrawn,
)
from spoel_planning.patients import seal_for

PLAN = Aggregate("plan", Plan, plan.evolve, PLAN_EVENTS)
CALENDAR = Aggregate("calendar", Calendar, calendar.evolve, CALENDAR_EVENTS, Snapshots(Calendar, form=1))

E = TypeVar("E", bound=EventData)


class Clinic(NamedTuple):
    """What is the same for every command: the clinic's data files and its time zone."""

    rules: Rules
    zone: ZoneInfo


async def measure_head(work: Work, clinic: Clinic, case_id: str, command: MeasureHead) -> TargetsAnswer:
    """Record head measures and both targets."""
    on = await _occasion(work, clinic, "measure-head", case_id)
    await _check_supervised(work, command.supervisor_id, on.today)
    loaded = await work.load(PLAN, case_id)
    decided = measuring.measure_head(on.case, command, clinic.rules.head)
    await work.append(PLAN, case_id, loaded, decided)
    targets = [event for event in decided if isinstance(event, TargetCalculated)]
    return TargetsAnswer(case_id=case_id, targets=targets)


async def order_measurement(
    work: Work, clinic: Clinic, case_id: str, command: OrderMeasurement
) -> MeasurementOrderAnswer:
    """Draft a measurement order."""
    on = await _occasion(work, clinic, "prescribe", case_id)
    loaded = await work.load(PLAN, case_id)
    decided = measuring.order_measurement(on, command, clinic.rules, new_id())
    await work.append(PLAN, case_id, loaded, decided)
    event = _the(MeasurementOrdered, decided)
    order = MeasurementOrder.model_validate(event.model_dump(exclude={"drafted_by"}))
    return MeasurementOrderAnswer(order_id=event.order_id, order=order, drafted_by=event.drafted_by)


async def order_search(work: Work, clinic: Clinic, case_id: str, command: OrderSearch) -> MeasurementOrderAnswer:
    """Draft the order of a heart-brain search."""
    on = await _occasion(work, clinic, "prescribe", case_id)
    loaded = await work.load(PLAN, case_id)
    decided = searching.order_search(loaded.state, on, command, clinic.rules, new_id())
    await work.append(PLAN, case_id, loaded, decided)
    event = _the(MeasurementOrdered, decided)
    order = MeasurementOrder.model_validate(event.model_dump(exclude={"drafted_by"}))
    return MeasurementOrderAnswer(order_id=event.order_id, order=order, drafted_by=event.drafted_by)


async def sign_measurement_order(work: Work, clinic: Clinic, case_id: str, order_id: str) -> MeasurementSignedAnswer:
    """Sign a measurement order."""
    on = await _occasion(work, clinic, "sign-order", case_id)
    loaded = await work.load(PLAN, case_id)
    order = loaded.state.measurement_order(order_id).order
    if order.search is not None:
        searching.check_threshold_stands(loaded.state, on, order.search, order.site, clinic.rules)
    decided = measuring.sign_measurement_order(loaded.state, on, order_id)
    await work.append(PLAN, case_id, loaded, decided)
    event = _the(MeasurementOrderSigned, decided)
    return MeasurementSignedAnswer(order_id=order_id, signed_by=event.signed_by, self_signed=event.self_signed)


async def estimate_threshold(work: Work, clinic: Clinic, case_id: str, command: EstimateThreshold) -> ThresholdAnswer:
    """Take the threshold that a session's stimuli lead to."""
    on = await _occasion(work, clinic, "estimate-threshold", case_id)
    await _check_supervised(work, command.supervisor_id, on.today)
    loaded = await work.load(PLAN, case_id)
    session = await queries.find_session(work.conn, command.session_id)
    decided = measuring.estimate_threshold(loaded.state, on, command, session, clinic.rules.threshold, new_id())
    await work.append(PLAN, case_id, loaded, decided)
    event = _the(ThresholdEstimated, decided)
    return ThresholdAnswer(
        threshold_id=event.threshold_id,
        threshold_percent_mso=event.threshold_percent_mso,
        stimuli=len(event.stimuli),
        margin_note=event.margin_note,
    )


async def allocate(work: Work, clinic: Clinic, case_id: str, command: Allocate) -> AllocatedAnswer:
    """Seal and record the condition that a trial's randomisation allocated."""
    on = await _occasion(work, clinic, "allocate", case_id)
    blinding.check_method(command.method)
    loaded = await work.load(PLAN, case_id)
    event_id = work.new_event_id()
    sealed = await seal_for(
        work.conn, on.case.patient_id, command.allocation, event_id, AllocationRecorded.event_type()
    )
    decided = blinding.allocate(loaded.state, on, command, event_id, sealed)
    await work.append(PLAN, case_id, loaded, decided, event_ids=[event_id])
    return AllocatedAnswer(case_id=case_id, trial_id=command.trial_id)


async def unblind(work: Work, clinic: Clinic, case_id: str, command: Unblind) -> AllocatedAnswer:
    """Record that a physician asks for the condition."""
    on = await _occasion(work, clinic, "unblind", case_id)
    loaded = await work.load(PLAN, case_id)
    await work.append(PLAN, case_id, loaded, blinding.unblind(loaded.state, on, command))
    return AllocatedAnswer(case_id=case_id, trial_id=blinding.allocation_of(loaded.state).trial_id)


async def draft_prescription(work: Work, clinic: Clinic, case_id: str, command: Prescribe) -> PrescriptionAnswer:
    """Draft the first version of a prescription."""
    on, loaded = await _to_prescribe(work, clinic, case_id, command)
    decided = prescribing.draft_prescription(loaded.state, on, command, clinic.rules, new_id())
    return await _drafted(work, case_id, loaded, decided)


async def draft_version(
    work: Work, clinic: Clinic, case_id: str, prescription_id: str, command: Prescribe
) -> PrescriptionAnswer:
    """Draft a new version of a prescription."""
    on, loaded = await _to_prescribe(work, clinic, case_id, command)
    decided = prescribing.draft_version(loaded.state, on, command, clinic.rules, prescription_id)
    return await _drafted(work, case_id, loaded, decided)


async def sign_prescription(
    work: Work, clinic: Clinic, case_id: str, prescription_id: str, command: SignPrescription
) -> PrescriptionSignedAnswer:
    """Sign exactly one version."""
    on = await _occasion(work, clinic, "sign-order", case_id)
    loaded = await work.load(PLAN, case_id)
    course = prescribing.Course(prescription_id, new_id())
    validity = clinic.rules.threshold.validity
    decided = prescribing.sign_prescription(loaded.state, on, command, validity, course)
    await work.append(PLAN, case_id, loaded, decided)
    event = _the(PrescriptionSigned, decided)
    return PrescriptionSignedAnswer(
        prescription_id=prescription_id,
        version=event.version,
        course_id=event.course_id,
        signed_by=event.signed_by,
        self_signed=event.self_signed,
    )


async def withdraw_prescription(
    work: Work, clinic: Clinic, case_id: str, prescription_id: str, command: WithdrawPrescription
) -> PrescriptionWithdrawnAnswer:
    """Withdraw a prescription."""
    on = await _occasion(work, clinic, "prescribe", case_id)
    loaded = await work.load(PLAN, case_id)
    decided = prescribing.withdraw_prescription(loaded.state, on, command, prescription_id)
    await work.append(PLAN, case_id, loaded, decided)
    event = _the(PrescriptionWithdrawn, decided)
    return PrescriptionWithdrawnAnswer(prescription_id=prescription_id, version=event.version)


async def book(work: Work, clinic: Clinic, case_id: str, command: Book) -> BookingAnswer:
    """Book a session: the plan and the room's calendar change together or not at all."""
    on = await _occasion(work, clinic, "book", case_id)
    rooms = {room.room_id: room for room in await queries.list_rooms(work.conn)}
    room = known_room(rooms.get(command.room_id), command.room_id, rooms)
    await queries.lock_patient(work.conn, on.case.patient_id)
    slots = await queries.list_patient_slots(work.conn, on.case.patient_id)
    loaded = await work.load(PLAN, case_id)
    surroundings = booking.Surroundings(room, slots, clinic.zone)
    booked = booking.book(loaded.state, on, command, surroundings, clinic.rules, new_id())
    await _take_room(work, booked)
    await work.append(PLAN, case_id, loaded, [booked.event], room=room.room_id)
    await queries.keep_booked(work.conn, booked, local_day(booked.event.starts_at, clinic.zone))
    return BookingAnswer.of(booked.event)


async def cancel_booking(
    work: Work, clinic: Clinic, case_id: str, session_id: str, command: CancelBooking
) -> CancelledAnswer:
    """Cancel a booking and give the room back."""
    on = await _occasion(work, clinic, "book", case_id)
    loaded = await work.load(PLAN, case_id)
    progress = await queries.find_progress(work.conn, session_id)
    decided = booking.cancel(loaded.state, on, command, session_id, progress)
    room_id = loaded.state.booking(session_id).booked.room_id
    await work.append(PLAN, case_id, loaded, decided, room=room_id)
    room = await work.load(CALENDAR, room_id)
    released = calendar.release_slot(room.state, room_id, session_id)
    await work.append(CALENDAR, room_id, room, released, room=room_id)
    await queries.keep_cancelled(work.conn, session_id)
    return CancelledAnswer(session_id=session_id)


async def _take_room(work: Work, booked: booking.Booked) -> None:
    event = booked.event
    wanted = WantedSlot(event.room_id, event.session_id, event.starts_at, event.ends_at)
    loaded = await work.load(CALENDAR, event.room_id)
    closed = await queries.closed_in_room(work.conn, event.room_id, event.starts_at)
    await work.append(
        CALENDAR, event.room_id, loaded, calendar.take_slot(loaded.state, wanted, closed), room=event.room_id
    )


async def _to_prescribe(work: Work, clinic: Clinic, case_id: str, command: Prescribe) -> tuple[Occasion, Loaded[Plan]]:
    on = await _occasion(work, clinic, "prescribe", case_id)
    if command.override is not None:
        await _check_may(work, "override-limit", on.today)
    return on, await work.load(PLAN, case_id)


async def _drafted(work: Work, case_id: str, loaded: Loaded[Plan], decided: list[EventData]) -> PrescriptionAnswer:
    await work.append(PLAN, case_id, loaded, decided)
    event = _the(PrescriptionDrafted, decided)
    return PrescriptionAnswer(
        prescription_id=event.prescription_id,
        version=event.version,
        order=event.order,
        sessions=event.sessions,
        per_week=event.per_week,
        grade=event.grade,
        findings=event.findings,
        override=event.override,
    )


async def _occasion(work: Work, clinic: Clinic, act: str, case_id: str) -> Occasion:
    today = local_day(work.now, clinic.zone)
    await _check_may(work, act, today)
    case = known_case(await queries.find_case(work.conn, case_id), case_id)
    return Occasion(case, work.actor, work.now, today)


async def _check_may(work: Work, act: str, today: date) -> None:
    actor = work.actor
    found = await queries.find_registrations(work.conn, actor.person_id, actor.big_number)
    registration = found[0] if actor.big_number is not None and found else None
    check_act(act, actor, registration, today)


async def _check_supervised(work: Work, supervisor_id: str | None, today: date) -> None:
    if Role.TMS_PROFESSIONAL in work.actor.roles:
        return
    if supervisor_id is None or supervisor_id == work.actor.person_id:
        raise SupervisorMissing(
            "A technician measures under the supervision of somebody else. Name that person as supervisor_id.",
            field="supervisor_id",
        )
    found = await queries.find_registrations(work.conn, supervisor_id)
    allowed = acts()["supervise"].professions
    if not any(
        each.profession in allowed and (each.valid_until is None or each.valid_until >= today) for each in found
    ):
        raise SupervisorMissing(
            f"No verified registration as {', '.join(sorted(allowed))} is known here of {supervisor_id}. Name a "
            "supervisor, or have the registration verified in the staff register.",
            field="supervisor_id",
        )


def _the(kind: type[E], events: list[EventData]) -> E:
    return next(event for event in events if isinstance(event, kind))
