"""What a room reads of the events of intake: patients, consent, indication, registrations."""

from datetime import date
from typing import ClassVar, Literal

from spoel_common.events import ForeignEvent, UtcTime
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
