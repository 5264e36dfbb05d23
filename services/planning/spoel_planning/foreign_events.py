"""Events of other services as planning reads them: only the fields that it uses."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from spoel_common.events import Catalogue, ForeignEvent
from spoel_common.people import Profession


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


class ScreenItemJudged(IntakeEvent):
    """Somebody judged an item of the safety screen."""

    event_name: ClassVar[str] = "screen-item-judged"

    case_id: str
    patient_id: str
    sealed_reason: str


class ReferralReceived(IntakeEvent):
    """A case was opened on a referral."""

    event_name: ClassVar[str] = "referral-received"

    case_id: str
    patient_id: str
    indication: str
    sealed_question: str | None = None


class IndicationDecided(IntakeEvent):
    """A clinician decided whether treatment is indicated."""

    event_name: ClassVar[str] = "indication-decided"

    case_id: str
    patient_id: str
    decision: Literal["indicated", "not-indicated"]
    sealed_reason: str | None = None


class ConsentGiven(IntakeEvent):
    """The patient, or a representative, consented."""

    event_name: ClassVar[str] = "consent-given"

    case_id: str
    patient_id: str


class ConsentWithdrawn(IntakeEvent):
    """Consent was withdrawn."""

    event_name: ClassVar[str] = "consent-withdrawn"

    case_id: str
    patient_id: str
    sealed_reason: str | None = None


class RegistrationVerified(IntakeEvent):
    """A person's registration in the BIG register was verified."""

    event_name: ClassVar[str] = "registration-verified"

    person_id: str
    big_number: str
    profession: Profession
    verified_on: date
    evidence: str
    valid_until: date | None = None


class RegistrationEnded(IntakeEvent):
    """A person's registration no longer holds."""

    event_name: ClassVar[str] = "registration-ended"

    person_id: str
    big_number: str
    ended_on: date


class StimulationEvent(ForeignEvent):
    """An event of a stimulation node."""

    service: ClassVar[str] = "stimulation"


class RoomOpened(StimulationEvent):
    """A room's device answered."""

    event_name: ClassVar[str] = "room-opened"

    room_id: str
    stimulator_model: str
    stimulator_serial: str
    coil_model: str
    simulated: bool


class StimulusAnswered(StimulationEvent):
    """Somebody said what a stimulus of a threshold session did."""

    event_name: ClassVar[str] = "stimulus-answered"

    session_id: str
    case_id: str
    patient_id: str
    train_id: str
    measurement_order_id: str
    percent_mso: int
    response: Literal["yes", "no", "repeat"]


class RankedPlace(BaseModel):
    """One location of a heart-brain search; ``fall_bpm``: by how much heart rate fell with the trains."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    location: str
    percent_mso: int
    coupled: bool
    fall_bpm: float
    ratio: float
    p_value: float


class LocationsRanked(StimulationEvent):
    """A heart-brain search was closed, with its locations from strongest to weakest coupling."""

    event_name: ClassVar[str] = "locations-ranked"

    session_id: str
    case_id: str
    measurement_order_id: str
    site: str
    verdict: str
    best: str | None
    locations: tuple[RankedPlace, ...]


class SessionOpened(StimulationEvent):
    """A room has taken up a booked session."""

    event_name: ClassVar[str] = "session-opened"
    event_version: ClassVar[int] = 2

    session_id: str


class SessionClosed(StimulationEvent):
    """A session is over; its room is free from then on."""

    event_name: ClassVar[str] = "session-closed"
    event_version: ClassVar[int] = 2

    session_id: str
    case_id: str
    patient_id: str
    room_id: str
    outcome: Literal["completed", "partial", "not-started"]


FOREIGN_EVENTS: Catalogue[ForeignEvent] = Catalogue(
    [
        PatientMerged,
        ReferralReceived,
        IndicationDecided,
        ConsentGiven,
        ConsentWithdrawn,
        RegistrationVerified,
        RegistrationEnded,
        RoomOpened,
        StimulusAnswered,
        LocationsRanked,
        SessionOpened,
        SessionClosed,
    ],
    {("stimulation", "session-opened", 1): dict, ("stimulation", "session-closed", 1): dict},
)
"""Every foreign event from which planning knows cases, staff, rooms and sessions."""

PATIENT_EVENTS: Catalogue[ForeignEvent] = Catalogue(
    [PatientRegistered, PatientErased, ReferralReceived, ScreenItemJudged, IndicationDecided, ConsentWithdrawn]
)
"""Every foreign event from which planning knows patients' keys and the texts that are sealed to them."""
