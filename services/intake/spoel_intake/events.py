"""Intake's public events. No patient's personal data: free text is sealed to the patient's own key."""

from datetime import date
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from spoel_common.events import Catalogue, EventData, UtcTime, gap_detected
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
    """Consent was withdrawn: treatment stops from this moment."""

    event_name: ClassVar[str] = "consent-withdrawn"

    case_id: str
    patient_id: str
    withdrawn_at: UtcTime
    sealed_reason: str | None


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


GapDetected = gap_detected("intake")
"""An event of the aggregate ``gap``, one for each time that an aggregate begins to wait for an event."""

PATIENT_EVENTS: Catalogue[EventData] = Catalogue([PatientRegistered])
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
ALL_EVENTS: Catalogue[EventData] = Catalogue([*PATIENT_EVENTS.models, *CASE_EVENTS.models, *STAFF_EVENTS.models])
