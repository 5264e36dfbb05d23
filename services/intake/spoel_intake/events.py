"""Intake's public events. No patient's personal data: free text is sealed to the patient's own key."""

from datetime import date
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from spoel_common.events import Catalogue, EventData, UtcTime, gap_detected, parked_event_discarded
from spoel_common.people import Profession


class Channel(StrEnum):
    """How a referral came in."""

    REST = "rest"
    FHIR = "fhir"
    MANUAL = "manual"


class ReferrerKind(StrEnum):
    """Who may refer (IN-01)."""

    GP = "gp"
    SPECIALIST = "specialist"


class Indication(StrEnum):
    """What the referral asks treatment for (IN-02, IN-06)."""

    DEPRESSION = "depression"
    OCD = "ocd"
    BIPOLAR_DEPRESSION = "bipolar-depression"
    PTSD = "ptsd"
    SUBSTANCE_USE = "substance-use"
    DISSOCIATIVE = "dissociative"
    PSYCHOTIC = "psychotic"
    NEUROPATHIC_PAIN = "neuropathic-pain"
    MIGRAINE = "migraine"
    POST_STROKE = "post-stroke"


class Decision(StrEnum):
    """What the rules advise and what a person decides."""

    INDICATED = "indicated"
    NOT_INDICATED = "not-indicated"


class Outcome(StrEnum):
    """How one rule came out; one that is not met advises against treatment."""

    MET = "met"
    NOT_MET = "not-met"
    NOT_APPLICABLE = "not-applicable"


class ConsentGiver(StrEnum):
    """Who gave consent (IN-11)."""

    PATIENT = "patient"
    REPRESENTATIVE = "representative"


class ErasureGround(StrEnum):
    """Why a patient's file may be destroyed.

    A file is kept for 20 years after its last change (art. 7:454 BW, WGBO), unless the patient asks for its destruction
    (art. 7:455 BW), a court orders it, or it should never have been made.
    """

    PATIENT_REQUEST = "patient-request"
    RETENTION_ENDED = "retention-ended"
    COURT_ORDER = "court-order"
    REGISTERED_BY_MISTAKE = "registered-by-mistake"


class MergeGround(StrEnum):
    """Why one person got two files (IN-15). A file is found by its BSN, so at least that differs."""

    WRONG_BSN = "wrong-bsn"
    WRONG_BSN_AND_BIRTH_DATE = "wrong-bsn-and-birth-date"
    NEW_BSN = "new-bsn"

    @property
    def is_wrong_bsn(self) -> bool:
        """Tell whether the merged file's BSN was never the person's."""
        return self is not MergeGround.NEW_BSN


class RegistrationEnd(StrEnum):
    """Why a registration no longer counts."""

    STRUCK_OFF = "struck-off"
    EXPIRED = "expired"
    LEFT = "left"
    RECORDED_BY_MISTAKE = "recorded-by-mistake"


class IntakeEvent(EventData):
    """An event of intake."""

    service: ClassVar[str] = "intake"


class PatientRegistered(IntakeEvent):
    """A person became known here. ``public_key``: X25519, base64; free text about the patient is sealed to it."""

    event_name: ClassVar[str] = "patient-registered"

    patient_id: str
    public_key: str


class ReferralReceived(IntakeEvent):
    """A doctor referred a patient.

    ``referrer_agb``: AGB code of the referrer, eight digits. ``external_id``: the sender's own order number.
    """

    event_name: ClassVar[str] = "referral-received"

    case_id: str
    patient_id: str
    channel: Channel
    referrer_kind: ReferrerKind
    referrer_agb: str | None
    indication: Indication
    referred_on: date
    external_id: str | None
    sealed_question: str | None


class SafetyScreenCompleted(IntakeEvent):
    """The safety questionnaire was filled in; ``absolute`` and ``to_judge`` list the items answered yes."""

    event_name: ClassVar[str] = "safety-screen-completed"

    case_id: str
    patient_id: str
    questionnaire: str
    questionnaire_version: str
    answers: dict[str, bool]
    absolute: list[str]
    to_judge: list[str]
    screened_at: UtcTime


class ScreenItemJudged(IntakeEvent):
    """A person judged an item that was answered yes."""

    event_name: ClassVar[str] = "screen-item-judged"

    case_id: str
    patient_id: str
    item: str
    acceptable: bool
    sealed_reason: str


class RuleResult(BaseModel):
    """One rule of the advice, with what it was applied to in plain words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    outcome: Outcome
    explanation: str


class IndicationDecided(IntakeEvent):
    """The system advised and a person decided (IN-08)."""

    event_name: ClassVar[str] = "indication-decided"

    case_id: str
    patient_id: str
    decision: Decision
    advice: Decision
    followed_advice: bool
    rules: list[RuleResult]
    sealed_reason: str | None


class ConsentGiven(IntakeEvent):
    """Informed consent to the treatment was given."""

    event_name: ClassVar[str] = "consent-given"

    case_id: str
    patient_id: str
    form_version: str
    given_by: ConsentGiver
    given_at: UtcTime


class ConsentWithdrawn(IntakeEvent):
    """Consent was withdrawn: treatment stops from this moment.

    Attributes:
        room_event_id: of the room's ``consent-withdrawn-in-room``, where it was entered there.
    """

    event_name: ClassVar[str] = "consent-withdrawn"

    case_id: str
    patient_id: str
    withdrawn_at: UtcTime
    sealed_reason: str | None
    room_event_id: str | None = None


class PatientErased(IntakeEvent):
    """The patient's private key was destroyed: nothing sealed to it, in whichever event, can be read again."""

    event_name: ClassVar[str] = "patient-erased"

    patient_id: str
    ground: ErasureGround


class PatientMerged(IntakeEvent):
    """Two files turned out to be of one person: every rule over a patient holds over both together from now on (HZ-14).

    Nothing is moved and nothing ends by it: cases, events and keys of both stay as they are.

    Attributes:
        patient_id: the file that takes no new referral any more.
        into_patient_id: the file in which the person goes on.
        sealed_reason: how it was established that they are one person; sealed to ``patient_id``.
    """

    event_name: ClassVar[str] = "patient-merged"

    patient_id: str
    into_patient_id: str
    ground: MergeGround
    sealed_reason: str


class ErasureReplayed(IntakeEvent):
    """A database restored from an older backup held a key that had been destroyed; it was destroyed again.

    Attributes:
        erasure_id: id of the event ``patient-erased``.
        found_in: where the restored service learnt of it.
    """

    event_name: ClassVar[str] = "erasure-replayed"

    patient_id: str
    erasure_id: str
    found_in: Literal["file", "stream"]


class TextOpened(IntakeEvent):
    """A line of the access log: somebody got to read a sealed text. Who it was stands in the envelope.

    Attributes:
        opened_event_id: the event in which the text stands.
    """

    event_name: ClassVar[str] = "text-opened"

    opening_id: str
    patient_id: str
    opened_event_id: str
    opened_event_type: str
    reason: str


class FileOpened(IntakeEvent):
    """A line of the access log: somebody got to see a patient's identity, and the free texts of a case if it was one.

    Attributes:
        case_id: the case that was read; None where it was the patient alone.
    """

    event_name: ClassVar[str] = "file-opened"

    opening_id: str
    patient_id: str
    case_id: str | None


class OpeningRefused(IntakeEvent):
    """A line of the access log: somebody asked to read a sealed text and did not get to.

    Attributes:
        problem: slug of the refusal. Where the request itself was not understood, nothing of it is repeated.
    """

    event_name: ClassVar[str] = "opening-refused"

    opening_id: str
    patient_id: str | None
    opened_event_id: str | None
    opened_event_type: str | None
    reason: str | None
    problem: str


class RegistrationVerified(IntakeEvent):
    """Somebody's registration in the BIG register was looked up, and with what evidence."""

    event_name: ClassVar[str] = "registration-verified"

    person_id: str
    name: str
    big_number: str
    profession: Profession
    verified_on: date
    evidence: str
    valid_until: date | None


class RegistrationEnded(IntakeEvent):
    """A registration no longer counts, from ``ended_on`` on."""

    event_name: ClassVar[str] = "registration-ended"

    person_id: str
    big_number: str
    ended_on: date
    reason: RegistrationEnd


ParkedEventDiscarded = parked_event_discarded("intake")
"""An event of the aggregate ``discarded-event``, one for each event that was given up."""

GapDetected = gap_detected("intake")
"""An event of the aggregate ``gap``, one for each time that an aggregate begins to wait for an event."""

PATIENT_EVENTS: Catalogue[EventData] = Catalogue([PatientRegistered, PatientMerged, PatientErased])
REPLAY_EVENTS: Catalogue[EventData] = Catalogue([ErasureReplayed])
ACCESS_EVENTS: Catalogue[EventData] = Catalogue([TextOpened, FileOpened, OpeningRefused])
CASE_EVENTS: Catalogue[EventData] = Catalogue(
    [
        ReferralReceived,
        SafetyScreenCompleted,
        ScreenItemJudged,
        IndicationDecided,
        ConsentGiven,
        ConsentWithdrawn,
    ]
)
STAFF_EVENTS: Catalogue[EventData] = Catalogue([RegistrationVerified, RegistrationEnded])
ALL_EVENTS: Catalogue[EventData] = Catalogue(
    [
        *PATIENT_EVENTS.models,
        *CASE_EVENTS.models,
        *STAFF_EVENTS.models,
        *REPLAY_EVENTS.models,
        *ACCESS_EVENTS.models,
    ]
)
