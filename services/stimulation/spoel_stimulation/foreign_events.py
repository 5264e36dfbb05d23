"""What a room reads of the events of intake and planning: only the fields that it uses; others are ignored."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import ConfigDict

from spoel_common.events import Catalogue, ForeignEvent, UtcTime
from spoel_common.people import Profession
from spoel_stimulation.events import SessionKind
from spoel_stimulation.orders import Blinding, Block, MeasurementOrder, Pattern, RampUp, ThresholdKey, TreatmentOrder


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


class SignedMeasurementOrder(MeasurementOrder):
    """A measurement order as planning wrote it."""

    model_config = ConfigDict(extra="ignore")


class IntakeEvent(ForeignEvent):
    """An event of intake."""

    service: ClassVar[str] = "intake"


class PatientRegistered(IntakeEvent):
    """A patient has a pseudonym and a key."""

    event_name: ClassVar[str] = "patient-registered"

    patient_id: str
    public_key: str


class PatientErased(IntakeEvent):
    """The patient's private key was destroyed."""

    event_name: ClassVar[str] = "patient-erased"

    patient_id: str


class ConsentGiven(IntakeEvent):
    """The patient, or a representative, consents."""

    event_name: ClassVar[str] = "consent-given"

    case_id: str
    patient_id: str
    given_at: UtcTime


class ConsentWithdrawn(IntakeEvent):
    """The consent ended: nothing more is delivered."""

    event_name: ClassVar[str] = "consent-withdrawn"

    case_id: str
    patient_id: str
    withdrawn_at: UtcTime


class IndicationDecided(IntakeEvent):
    """A clinician decided whether treatment is indicated."""

    event_name: ClassVar[str] = "indication-decided"

    case_id: str
    patient_id: str
    decision: Literal["indicated", "not-indicated"]


class RegistrationVerified(IntakeEvent):
    """A BIG registration was looked up."""

    event_name: ClassVar[str] = "registration-verified"

    person_id: str
    big_number: str
    profession: Profession
    verified_on: date
    evidence: str
    valid_until: date | None = None


class RegistrationEnded(IntakeEvent):
    """A BIG registration ended."""

    event_name: ClassVar[str] = "registration-ended"

    person_id: str
    big_number: str
    ended_on: date


class PlanningEvent(ForeignEvent):
    """An event of planning."""

    service: ClassVar[str] = "planning"


class MeasurementOrderSigned(PlanningEvent):
    """A measurement order holds."""

    event_name: ClassVar[str] = "measurement-order-signed"

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


CATALOGUE: Catalogue[ForeignEvent] = Catalogue(
    [
        PatientRegistered,
        PatientErased,
        ConsentGiven,
        ConsentWithdrawn,
        IndicationDecided,
        RegistrationVerified,
        RegistrationEnded,
        MeasurementOrderSigned,
        ThresholdEstimated,
        PrescriptionSigned,
        PrescriptionWithdrawn,
        SessionBooked,
        SessionBookingCancelled,
    ],
    {("planning", "prescription-signed", 1): dict},
)
"""Every event of others that a room reads, in the newest version that it knows."""
