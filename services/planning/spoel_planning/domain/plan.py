"""The plan of one case: its state, and how each event changes it."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict

from spoel_common.events import EventData
from spoel_planning.domain.refusals.booking import BookingUnknown
from spoel_planning.domain.refusals.measuring import MeasurementOrderUnknown
from spoel_planning.domain.refusals.prescribing import PrescriptionIsWithdrawn, PrescriptionUnknown
from spoel_planning.events.booking import CancellationReason, SessionBooked, SessionBookingCancelled
from spoel_planning.events.measuring import (
    HeadMeasured,
    MeasurementOrdered,
    MeasurementOrderSigned,
    TargetCalculated,
    ThresholdEstimated,
)
from spoel_planning.events.orders import MeasurementOrder, MotorSite, Site, TreatmentOrder
from spoel_planning.events.prescribing import (
    AllocationRecorded,
    AllocationUnblinded,
    Finding,
    Grade,
    Override,
    PrescriptionDrafted,
    PrescriptionSigned,
    PrescriptionWithdrawn,
    WithdrawalReason,
)


class State(BaseModel):
    """A part of a plan; never changed in place."""

    model_config = ConfigDict(frozen=True)


class OrderedMeasurement(State):
    """A measurement order, signed or not."""

    order: MeasurementOrder
    drafted_by: str
    signed_by: str | None = None
    self_signed: bool = False


class PrescriptionVersion(State):
    """One version of a prescription, signed or not."""

    version: int
    order: TreatmentOrder
    sessions: int
    per_week: int
    grade: Grade
    findings: tuple[Finding, ...]
    override: Override | None
    drafted_by: str
    signed_by: str | None = None
    self_signed: bool = False


class Prescription(State):
    """A prescription; its newest version is the current one, and supersedes the others."""

    prescription_id: str
    versions: tuple[PrescriptionVersion, ...]
    course_id: str | None = None
    withdrawn: WithdrawalReason | None = None

    @property
    def current(self) -> PrescriptionVersion:
        """The newest version."""
        return self.versions[-1]


class Booking(State):
    """A booked session."""

    booked: SessionBooked
    cancelled: CancellationReason | None = None


class Plan(State):
    """All that was planned for a case. Dictionaries are by id, targets by site."""

    head: HeadMeasured | None = None
    targets: dict[Site, TargetCalculated] = {}
    measurement_orders: dict[str, OrderedMeasurement] = {}
    thresholds: tuple[ThresholdEstimated, ...] = ()
    prescriptions: dict[str, Prescription] = {}
    bookings: dict[str, Booking] = {}
    allocation: AllocationRecorded | None = None
    unblinded: tuple[AllocationUnblinded, ...] = ()

    def measurement_order(self, order_id: str) -> OrderedMeasurement:
        """Return a measurement order.

        Raises:
            MeasurementOrderUnknown: the plan has none of this id.
        """
        if order_id not in self.measurement_orders:
            raise MeasurementOrderUnknown(f"This case has no measurement order {order_id}. Look it up in the plan.")
        return self.measurement_orders[order_id]

    def newest_threshold(self, site: MotorSite) -> ThresholdEstimated | None:
        """Return the threshold of this side that was measured last, whenever it was taken; None if there is none."""
        of_this_side = [each for each in self.thresholds if each.site == site]
        return max(reversed(of_this_side), key=lambda each: each.estimated_at, default=None)

    def open_prescription(self, prescription_id: str) -> Prescription:
        """Return a prescription that was not withdrawn.

        Raises:
            PrescriptionUnknown: the plan has none of this id.
            PrescriptionIsWithdrawn: it was withdrawn.
        """
        if prescription_id not in self.prescriptions:
            raise PrescriptionUnknown(f"This case has no prescription {prescription_id}. Look it up in the plan.")
        prescription = self.prescriptions[prescription_id]
        if prescription.withdrawn is not None:
            raise PrescriptionIsWithdrawn(
                f"Prescription {prescription_id} was withdrawn ({prescription.withdrawn}). Draft a new one.",
                reason_code=prescription.withdrawn,
            )
        return prescription

    def booking(self, session_id: str) -> Booking:
        """Return a booking.

        Raises:
            BookingUnknown: the plan has none of this id.
        """
        if session_id not in self.bookings:
            raise BookingUnknown(f"This case has no booked session {session_id}. Look it up in the plan.")
        return self.bookings[session_id]


def evolve(plan: Plan, event: EventData) -> Plan:
    """Return the plan after ``event``."""
    return _EVOLVE[type(event)](plan, event)


def _head(plan: Plan, event: HeadMeasured) -> Plan:
    return plan.model_copy(update={"head": event, "targets": {}})


def _target(plan: Plan, event: TargetCalculated) -> Plan:
    return plan.model_copy(update={"targets": {**plan.targets, event.site: event}})


def _ordered(plan: Plan, event: MeasurementOrdered) -> Plan:
    order = MeasurementOrder.model_validate(event.model_dump(exclude={"drafted_by"}))
    return _with_order(plan, OrderedMeasurement(order=order, drafted_by=event.drafted_by))


def _order_signed(plan: Plan, event: MeasurementOrderSigned) -> Plan:
    signed = {"signed_by": event.signed_by, "self_signed": event.self_signed}
    return _with_order(plan, plan.measurement_orders[event.order_id].model_copy(update=signed))


def _with_order(plan: Plan, ordered: OrderedMeasurement) -> Plan:
    return plan.model_copy(update={"measurement_orders": {**plan.measurement_orders, ordered.order.order_id: ordered}})


def _threshold(plan: Plan, event: ThresholdEstimated) -> Plan:
    return plan.model_copy(update={"thresholds": (*plan.thresholds, event)})


def _drafted(plan: Plan, event: PrescriptionDrafted) -> Plan:
    version = PrescriptionVersion.model_validate(event.model_dump(exclude={"prescription_id", "case_id", "patient_id"}))
    before = plan.prescriptions.get(event.prescription_id)
    if before is None:
        return _with_prescription(plan, Prescription(prescription_id=event.prescription_id, versions=(version,)))
    return _with_prescription(plan, before.model_copy(update={"versions": (*before.versions, version)}))


def _signed(plan: Plan, event: PrescriptionSigned) -> Plan:
    before = plan.prescriptions[event.prescription_id]
    signature = {"signed_by": event.signed_by, "self_signed": event.self_signed}
    versions = tuple(
        each.model_copy(update=signature) if each.version == event.version else each for each in before.versions
    )
    return _with_prescription(plan, before.model_copy(update={"versions": versions, "course_id": event.course_id}))


def _withdrawn(plan: Plan, event: PrescriptionWithdrawn) -> Plan:
    before = plan.prescriptions[event.prescription_id]
    return _with_prescription(plan, before.model_copy(update={"withdrawn": event.reason_code}))


def _with_prescription(plan: Plan, prescription: Prescription) -> Plan:
    return plan.model_copy(update={"prescriptions": {**plan.prescriptions, prescription.prescription_id: prescription}})


def _allocated(plan: Plan, event: AllocationRecorded) -> Plan:
    return plan.model_copy(update={"allocation": event})


def _unblinded(plan: Plan, event: AllocationUnblinded) -> Plan:
    return plan.model_copy(update={"unblinded": (*plan.unblinded, event)})


def _booked(plan: Plan, event: SessionBooked) -> Plan:
    return plan.model_copy(update={"bookings": {**plan.bookings, event.session_id: Booking(booked=event)}})


def _cancelled(plan: Plan, event: SessionBookingCancelled) -> Plan:
    cancelled = plan.bookings[event.session_id].model_copy(update={"cancelled": event.reason_code})
    return plan.model_copy(update={"bookings": {**plan.bookings, event.session_id: cancelled}})


_EVOLVE: dict[type[EventData], Callable[[Plan, Any], Plan]] = {
    HeadMeasured: _head,
    TargetCalculated: _target,
    MeasurementOrdered: _ordered,
    MeasurementOrderSigned: _order_signed,
    ThresholdEstimated: _threshold,
    PrescriptionDrafted: _drafted,
    PrescriptionSigned: _signed,
    PrescriptionWithdrawn: _withdrawn,
    AllocationRecorded: _allocated,
    AllocationUnblinded: _unblinded,
    SessionBooked: _booked,
    SessionBookingCancelled: _cancelled,
}
