"""What a room reads of others' events: only the fields that it uses; others are ignored.

Of stimulation it reads what the other nodes of the site publish, never its own.
"""

from datetime import date
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from spoel_common.events import Catalogue, ForeignEvent, UtcTime
from spoel_common.people import Profession
from spoel_stimulation.events import DailyOutcome, SessionKind
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


class IntakeEvent(ForeignEvent):
    """An event of intake."""

    service: ClassVar[str] = "intake"


class PatientRegistered(IntakeEvent):
    """A patient has a pseudonym and a key."""

    event_name: ClassVar[str] = "patient-registered"

    patient_id: str
    public_key: str


class PatientMerged(IntakeEvent):
    """Two files are of one person."""

    event_name: ClassVar[str] = "patient-merged"

    patient_id: str
    into_patient_id: str


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
    room_event_id: str | None = None


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


# --- other nodes of stimulation


class RoomEvent(ForeignEvent):
    """An event of another node of this service: what its rooms did with a patient."""

    service: ClassVar[str] = "stimulation"

    patient_id: str


class SessionOpened(RoomEvent):
    """A session was taken into its room."""

    event_name: ClassVar[str] = "session-opened"
    event_version: ClassVar[int] = 2

    session_id: str
    kind: SessionKind


class DailyCheckAnswered(RoomEvent):
    """The patient answered the questions of the day."""

    event_name: ClassVar[str] = "daily-check-answered"

    session_id: str
    day: date
    outcome: DailyOutcome


class DailyCheckDecided(RoomEvent):
    """Somebody decided on an answer."""

    event_name: ClassVar[str] = "daily-check-decided"

    session_id: str
    decision: Literal["go", "no-session-today"]


class TrainAuthorised(RoomEvent):
    """A train was about to leave its host."""

    event_name: ClassVar[str] = "train-authorised"
    event_version: ClassVar[int] = 2

    train_id: str
    session_id: str
    pulses: int
    planned_onset_at: UtcTime


class TrainDelivered(RoomEvent):
    """How a train ended."""

    event_name: ClassVar[str] = "train-delivered"
    event_version: ClassVar[int] = 2

    train_id: str
    session_id: str
    pulses: int
    ended_at: UtcTime


class AdverseEventReported(RoomEvent):
    """The patient lost consciousness."""

    event_name: ClassVar[str] = "adverse-event-reported"

    adverse_event_id: str


class PatientReleased(RoomEvent):
    """A physician decided that the patient may be treated again."""

    event_name: ClassVar[str] = "patient-released"

    adverse_event_ids: tuple[str, ...]


CATALOGUE: Catalogue[ForeignEvent] = Catalogue(
    [
        PatientRegistered,
        PatientMerged,
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
    {("planning", "prescription-signed", 1): dict, ("planning", "measurement-order-signed", 1): dict},
)
"""Every event of intake and planning that a room reads, in the newest version that it knows."""


class ElsewhereEvent(ForeignEvent):
    """An event of another node of the site."""

    service: ClassVar[str] = "stimulation"


class RoomOpenedElsewhere(ElsewhereEvent):
    """A device answered in a room."""

    event_name: ClassVar[str] = "room-opened"

    room_id: str
    stimulator_model: str
    stimulator_serial: str
    coil_model: str


class RoomLatchedElsewhere(ElsewhereEvent):
    """A room is latched."""

    event_name: ClassVar[str] = "room-latched"

    room_id: str
    reason: str


class RoomResetElsewhere(ElsewhereEvent):
    """A room was released."""

    event_name: ClassVar[str] = "room-reset"

    room_id: str


class SessionOpenedElsewhere(ElsewhereEvent):
    """A session was taken into a room."""

    event_name: ClassVar[str] = "session-opened"
    event_version: ClassVar[int] = 2

    session_id: str
    room_id: str
    case_id: str
    patient_id: str


class SessionClosedElsewhere(ElsewhereEvent):
    """A session is over."""

    event_name: ClassVar[str] = "session-closed"
    event_version: ClassVar[int] = 2

    session_id: str


class LeaseReleasedElsewhere(ElsewhereEvent):
    """A room gave a booking back."""

    event_name: ClassVar[str] = "lease-released"

    session_id: str


class ConsentWithdrawnElsewhere(ElsewhereEvent):
    """A patient withdrew consent in a room."""

    event_name: ClassVar[str] = "consent-withdrawn-in-room"

    case_id: str
    patient_id: str


SITE_CATALOGUE: Catalogue[ForeignEvent] = Catalogue(
    [
        RoomOpenedElsewhere,
        RoomLatchedElsewhere,
        RoomResetElsewhere,
        SessionOpenedElsewhere,
        SessionClosedElsewhere,
        LeaseReleasedElsewhere,
        ConsentWithdrawnElsewhere,
    ],
    {("stimulation", name, 1): dict for name in ("session-opened", "session-closed")},
)
"""Every event of other nodes that tells of their rooms, sessions, leases and withdrawals."""

ROOMS: Catalogue[ForeignEvent] = Catalogue(
    [
        SessionOpened,
        DailyCheckAnswered,
        DailyCheckDecided,
        TrainAuthorised,
        TrainDelivered,
        AdverseEventReported,
        PatientReleased,
    ],
    {("stimulation", name, 1): dict for name in ("session-opened", "train-authorised", "train-delivered")},
)
"""Every event of other nodes that tells what a patient was given, and what blocks one."""
