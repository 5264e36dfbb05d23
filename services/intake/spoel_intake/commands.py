"""What can be asked of intake. Bodies of HTTP requests are commands, or become one with the ids of their path."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, StrictBool, StringConstraints

from spoel_common.events import Command
from spoel_common.people import Profession
from spoel_intake.events import (
    Channel,
    ConsentGiver,
    Decision,
    ErasureGround,
    Indication,
    MergeGround,
    ReferrerKind,
    RegistrationEnd,
)

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
FreeText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000)]
"""Free text about a patient; sealed before it is stored. 8,000 characters fit into one event when sealed."""
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$")]
"""A short identifier without spaces, so that nothing personal is written into it."""
AgbCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}$")]
"""Code of a care provider in the Dutch AGB register: eight digits."""
Gender = Literal["male", "female", "other", "unknown"]
"""Administrative gender, in FHIR's codes."""
Severity = Literal["mild", "moderate", "severe"]

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _check_iso(value: object) -> object:
    if isinstance(value, date) or (isinstance(value, str) and _ISO_DATE.fullmatch(value)):
        return value
    raise ValueError("a date is text of the form YYYY-MM-DD")


Day = Annotated[date, BeforeValidator(_check_iso)]
"""A day as ``YYYY-MM-DD``; a number is no day, though pydantic would take it for seconds since 1970."""


class IntakeCommand(Command):
    """A command of intake. What does not fit is never repeated in an error's text, which a log could show."""

    model_config = ConfigDict(hide_input_in_errors=True)


class PatientIdentity(IntakeCommand):
    """Who the patient is; goes into the vault and nowhere else. Kept out of ``repr`` so that no log shows it."""

    bsn: SecretStr = Field(max_length=20)
    given_name: Name = Field(repr=False)
    family_name: Name = Field(repr=False)
    birth_date: Day = Field(repr=False)
    gender: Gender = Field(default="unknown", repr=False)


class Referral(IntakeCommand):
    """Body of ``POST /referrals`` without the patient's identity."""

    referrer_kind: ReferrerKind
    referrer_agb: AgbCode
    indication: Indication
    referred_on: Day
    question: FreeText = Field(repr=False)
    external_id: Code | None = None


class ReferralRequest(Referral):
    """Body of ``POST /referrals``."""

    patient: PatientIdentity


class ReceiveReferral(Referral):
    """A referral of a patient who is known here."""

    case_id: str
    patient_id: str
    channel: Channel


class CompleteScreen(IntakeCommand):
    """The answers to the safety questionnaire, all of them, by item."""

    questionnaire: str
    questionnaire_version: str
    answers: dict[str, StrictBool]


class Judgement(IntakeCommand):
    """Body of a judgement of one screen item."""

    acceptable: StrictBool
    reason: FreeText = Field(repr=False)


class JudgeItem(Judgement):
    """A judgement of one screen item that was answered yes."""

    item: str


class EarlierTreatment(IntakeCommand):
    """One earlier treatment of this episode.

    Attributes:
        name_code: which one, for example an ATC code; two of one kind without a code cannot be told apart.
        adequate: long enough and in a sufficient dose.
        stopped_for: ``side-effects`` only where these were severe.
    """

    kind: Literal["antidepressant", "psychotherapy", "other"]
    name_code: Code | None = None
    adequate: StrictBool
    stopped_for: Literal["insufficient-effect", "side-effects"]


class IndicationFacts(IntakeCommand):
    """What the advice is computed from, next to the safety screen."""

    severity: Severity
    earlier_treatments: list[EarlierTreatment] = Field(max_length=50)
    psychotic_features: StrictBool
    other_treatment_suitable: StrictBool


class DecideIndication(IndicationFacts):
    """A person's decision. ``reason`` is needed where it differs from the advice."""

    decision: Decision
    reason: FreeText | None = Field(default=None, repr=False)


class GiveConsent(IntakeCommand):
    """Informed consent, on a version of the clinic's form."""

    form_version: Code
    given_by: ConsentGiver


class WithdrawConsent(IntakeCommand):
    """Consent is withdrawn; nobody has to say why."""

    reason: FreeText | None = Field(default=None, repr=False)


class ErasePatient(IntakeCommand):
    """Destroy a patient's key, and with it everything that was ever sealed to it. Cannot be undone."""

    ground: ErasureGround


class MergePatient(IntakeCommand):
    """Say that a file and another one are of one person. There is no command that takes it back.

    Attributes:
        into_patient_id: the file in which the person goes on: the one with the right BSN.
        reason: how it was established, for example with which document.
    """

    into_patient_id: Code
    ground: MergeGround
    reason: FreeText = Field(repr=False)


class Verification(IntakeCommand):
    """Body of a verification of somebody's BIG registration.

    Attributes:
        evidence: how it was looked up, for example ``bigregister.nl print-out 2026-11-01``.
        valid_until: last day on which it holds; absent where the register gives no end.
    """

    name: Name
    big_number: str
    profession: Profession
    verified_on: Day
    evidence: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    valid_until: Day | None = None


class VerifyRegistration(Verification):
    """A verification of the registration of ``person_id``."""

    person_id: str


class EndOfRegistration(IntakeCommand):
    """Body of the end of somebody's registration."""

    ended_on: Day
    reason: RegistrationEnd
