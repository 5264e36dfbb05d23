"""What a room reads of the events of planning: signed orders, thresholds, bookings."""

from typing import ClassVar

from pydantic import ConfigDict, Field

from spoel_common.events import ForeignEvent, UtcTime
from spoel_stimulation.events.words import SessionKind
from spoel_stimulation.orders import (
    Blinding,
    Block,
    Location,
    MeasurementOrder,
    Pattern,
    RampUp,
    Search,
    ThresholdKey,
    TreatmentOrder,
)


class SignedPattern(Pattern):
    """A pattern as planning wrote it."""

    model_config = ConfigDict(extra="ignore")


class SignedRampUp(RampUp):
    """A ramp-up as planning wrote it."""

    model_config = ConfigDict(extra="ignore")


class SignedBlock(Block):
    """A block as planning wrote it."""

    model_config = ConfigDict(extra="ignore")

    pattern: SignedPattern
    ramp_up: SignedRampUp | None = None


class SignedBlinding(Blinding):
    """A blinding as planning wrote it."""

    model_config = ConfigDict(extra="ignore")


class SignedTreatmentOrder(TreatmentOrder):
    """A treatment order as planning wrote it."""

    model_config = ConfigDict(extra="ignore")

    pattern: SignedPattern
    ramp_up: SignedRampUp | None = None
    further_blocks: tuple[SignedBlock, ...] = ()
    blinding: SignedBlinding | None = None


class SignedLocation(Location):
    """A location as planning wrote it."""

    model_config = ConfigDict(extra="ignore")


class SignedSearch(Search):
    """A heart-brain search as planning wrote it."""

    model_config = ConfigDict(extra="ignore")

    locations: tuple[SignedLocation, ...] = Field(min_length=2, max_length=12)
    pattern: SignedPattern


class SignedMeasurementOrder(MeasurementOrder):
    """A measurement order as planning wrote it."""

    model_config = ConfigDict(extra="ignore")

    search: SignedSearch | None = None


class PlanningEvent(ForeignEvent):
    """An event of planning."""

    service: ClassVar[str] = "planning"


class MeasurementOrderSigned(PlanningEvent):
    """A measurement order holds."""

    event_name: ClassVar[str] = "measurement-order-signed"
    event_version: ClassVar[int] = 2

    order_id: str
    case_id: str
    patient_id: str
    order: SignedMeasurementOrder


class ThresholdEstimated(PlanningEvent, ThresholdKey):
    """A motor threshold was measured, with this equipment."""

    model_config = ConfigDict(extra="ignore")

    event_name: ClassVar[str] = "threshold-estimated"

    threshold_id: str


class PrescriptionSigned(PlanningEvent):
    """A version of a prescription holds; it supersedes every lower one."""

    event_name: ClassVar[str] = "prescription-signed"
    event_version: ClassVar[int] = 2

    prescription_id: str
    version: int
    case_id: str
    patient_id: str
    course_id: str
    order: SignedTreatmentOrder


class PrescriptionWithdrawn(PlanningEvent):
    """A prescription, in all its versions, holds no longer."""

    event_name: ClassVar[str] = "prescription-withdrawn"

    prescription_id: str


class SessionBooked(PlanningEvent):
    """A session has a room and a time."""

    event_name: ClassVar[str] = "session-booked"

    session_id: str
    case_id: str
    patient_id: str
    room_id: str
    kind: SessionKind
    measurement_order_id: str | None = None
    prescription_id: str | None = None
    prescription_version: int | None = None
    starts_at: UtcTime
    ends_at: UtcTime


class SessionBookingCancelled(PlanningEvent):
    """A booking holds no longer."""

    event_name: ClassVar[str] = "session-booking-cancelled"

    session_id: str
