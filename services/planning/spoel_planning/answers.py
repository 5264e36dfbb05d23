"""What planning answers: the bodies of its responses."""

from typing import Literal

from pydantic import BaseModel

from spoel_common.events import UtcTime
from spoel_common.messaging import FeedKnowledge
from spoel_planning.domain.known import KnownCase, KnownRoom, RankedSearch
from spoel_planning.domain.plan import Booking, OrderedMeasurement, Plan, Prescription
from spoel_planning.domain.rules import Protocol
from spoel_planning.events.booking import SessionBooked, SessionKind
from spoel_planning.events.measuring import HeadMeasured, TargetCalculated, ThresholdEstimated
from spoel_planning.events.orders import MeasurementOrder, TreatmentOrder
from spoel_planning.events.prescribing import Finding, Grade, Override


class NoteAnswer(BaseModel):
    """A free text of a case, opened by intake for this answer alone; ``problem``: why one does not open."""

    event_id: str
    event_type: str
    written_at: UtcTime
    written_by: str
    text: str | None
    problem: str | None


class NotesAnswer(BaseModel):
    """The free texts of a case in the order in which they were written; what intake wrote later may still arrive."""

    case_id: str
    notes: list[NoteAnswer]
    known: list[FeedKnowledge]


class ProtocolAnswer(Protocol):
    """A protocol, and whether it is on the clinic's cleared list as it stands."""

    cleared: bool


class ProtocolsAnswer(BaseModel):
    """The catalogue."""

    protocols: list[ProtocolAnswer]


class RoomsAnswer(BaseModel):
    """Rooms whose device has answered, and how old that knowledge is."""

    rooms: list[KnownRoom]
    known: list[FeedKnowledge]


class CaseAnswer(BaseModel):
    """All that was planned for a case, and what planning knows of it from intake."""

    case: KnownCase
    head: HeadMeasured | None
    targets: list[TargetCalculated]
    measurement_orders: list[OrderedMeasurement]
    thresholds: list[ThresholdEstimated]
    prescriptions: list[Prescription]
    bookings: list[Booking]
    searches: list[RankedSearch]
    known: list[FeedKnowledge]

    @classmethod
    def of(cls, case: KnownCase, plan: Plan, searches: list[RankedSearch], known: list[FeedKnowledge]) -> "CaseAnswer":
        """Return the answer for a plan."""
        return cls(
            case=case,
            head=plan.head,
            targets=list(plan.targets.values()),
            measurement_orders=list(plan.measurement_orders.values()),
            thresholds=list(plan.thresholds),
            prescriptions=list(plan.prescriptions.values()),
            bookings=list(plan.bookings.values()),
            searches=searches,
            known=known,
        )


class TargetsAnswer(BaseModel):
    """The targets that follow from the head measures."""

    case_id: str
    targets: list[TargetCalculated]


class MeasurementOrderAnswer(BaseModel):
    """A drafted measurement order."""

    order_id: str
    order: MeasurementOrder
    drafted_by: str


class MeasurementSignedAnswer(BaseModel):
    """A signed measurement order."""

    order_id: str
    signed_by: str
    self_signed: bool


class ThresholdStateAnswer(BaseModel):
    """Where a threshold session stands.

    Attributes:
        state: ``next``: deliver ``next_percent_mso``; ``finished``: take the threshold; ``not-found``: see ``reason``.
        stimuli_seen: answered stimuli that have arrived; deliver the next only when the last one is among them.
    """

    session_id: str
    order_id: str
    state: Literal["next", "finished", "not-found"]
    finished: bool
    next_percent_mso: int | None
    estimate_percent_mso: int | None
    reason: str | None
    stimuli_seen: int
    ceiling_percent_mso: int
    max_stimuli: int
    min_interval_s: float
    known: list[FeedKnowledge]


class ThresholdAnswer(BaseModel):
    """A threshold that was taken."""

    threshold_id: str
    threshold_percent_mso: int
    stimuli: int
    margin_note: str


class AllocatedAnswer(BaseModel):
    """A condition was allocated; the answer does not repeat which."""

    case_id: str
    trial_id: str


class UnblindedAnswer(BaseModel):
    """Which condition a patient has, opened by intake for this answer alone."""

    case_id: str
    trial_id: str
    allocation: Literal["active", "sham"]


class PrescriptionAnswer(BaseModel):
    """A drafted version of a prescription.

    A finding ``clinic-cleared-list`` or an override says why it may be drafted where its grade is beyond *within*.
    """

    prescription_id: str
    version: int
    order: TreatmentOrder
    sessions: int
    per_week: int
    grade: Grade
    findings: tuple[Finding, ...]
    override: Override | None


class PrescriptionSignedAnswer(BaseModel):
    """A signed version of a prescription."""

    prescription_id: str
    version: int
    course_id: str
    signed_by: str
    self_signed: bool


class PrescriptionWithdrawnAnswer(BaseModel):
    """A withdrawn prescription."""

    prescription_id: str
    version: int


class BookingAnswer(BaseModel):
    """A booked session."""

    session_id: str
    room_id: str
    kind: SessionKind
    measurement_order_id: str | None
    prescription_id: str | None
    prescription_version: int | None
    course_id: str | None
    starts_at: UtcTime
    ends_at: UtcTime

    @classmethod
    def of(cls, event: SessionBooked) -> "BookingAnswer":
        """Return the answer for a booking."""
        return cls.model_validate(event.model_dump(exclude={"case_id", "patient_id"}))


class CancelledAnswer(BaseModel):
    """A cancelled booking."""

    session_id: str
