"""What intake shows: answers of commands and views of a case. Identity and free text only for who may see them."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel

from spoel_common.events import Envelope, UtcTime
from spoel_common.people import Actor
from spoel_intake.domain.advice import Advice, depression_rules
from spoel_intake.domain.case import Case
from spoel_intake.domain.patient import Identity
from spoel_intake.domain.questionnaire import Bilingual
from spoel_intake.domain.sight import CARE_ROLES
from spoel_intake.domain.staff import StaffMember
from spoel_intake.events import (
    Channel,
    ConsentGiver,
    Decision,
    ErasureGround,
    Indication,
    Outcome,
    ReferralReceived,
    ReferrerKind,
    RuleResult,
)
from spoel_intake.vault import OpenFile


class IdentityView(BaseModel):
    """Who the patient is."""

    bsn: str
    given_name: str
    family_name: str
    birth_date: date
    gender: str


class ReferralView(BaseModel):
    """The referral of a case."""

    channel: Channel
    referrer_kind: ReferrerKind
    referrer_agb: str | None
    indication: Indication
    referred_on: date
    received_at: UtcTime
    external_id: str | None


class ScreenView(BaseModel):
    """The safety screen and its judgements; ``unjudged`` waits for somebody."""

    questionnaire: str
    questionnaire_version: str
    screened_at: UtcTime
    answers: Mapping[str, bool]
    absolute: Sequence[str]
    to_judge: Sequence[str]
    judgements: Mapping[str, bool]
    unjudged: Sequence[str]


class ScreenAnswer(BaseModel):
    """A case's safety screen after a command."""

    case_id: str
    safety_screen: ScreenView | None


class RuleView(BaseModel):
    """One rule of the advice; ``verified``: its figures were read in the source."""

    rule: str
    title: Bilingual
    outcome: Outcome
    explanation: str
    source: str
    verified: bool


class AdviceView(BaseModel):
    """What the rules advise; nothing was recorded."""

    case_id: str
    advice: Decision
    rules: list[RuleView]


class IndicationView(BaseModel):
    """The decision, or what is still needed for it."""

    case_id: str
    decision: Decision | None
    advice: Decision | None
    followed_advice: bool | None
    rules: list[RuleView]
    still_needed: list[str]


class ConsentView(BaseModel):
    """Whether consent stands."""

    case_id: str
    given: bool
    form_version: str | None = None
    given_by: ConsentGiver | None = None
    given_at: UtcTime | None = None
    withdrawn_at: UtcTime | None = None


class Note(BaseModel):
    """A free text about the patient, opened: the referral's question, or the reason of a judgement or decision."""

    event_id: str
    event: str
    written_at: UtcTime
    person_id: str
    text: str


class CaseView(BaseModel):
    """A case as a whole. ``identity`` and ``notes`` are empty for who may not see them."""

    case_id: str
    patient_id: str
    version: int
    status: str
    identity: IdentityView | None
    referral: ReferralView
    safety_screen: ScreenView | None
    indication: IndicationView
    consent: ConsentView
    notes: list[Note]


class CaseLine(BaseModel):
    """One line of the list of referrals."""

    case_id: str
    patient_id: str
    channel: Channel
    referrer_kind: ReferrerKind
    indication: Indication
    referred_on: date
    external_id: str | None
    referred_by: str
    received_at: UtcTime
    status: str


class CasePage(BaseModel):
    """A page of the list, oldest first; ``next`` is the ``after`` of the following page, None at the end."""

    items: list[CaseLine]
    next: str | None


class RegistrationView(BaseModel):
    """Somebody's registration; ``current`` is False after its end."""

    person_id: str
    name: str
    big_number: str
    profession: str
    verified_on: date
    evidence: str
    valid_until: date | None
    ended_on: date | None
    end_reason: str | None
    current: bool


class StaffList(BaseModel):
    """The staff register."""

    items: list[RegistrationView]


class StaffAnswer(BaseModel):
    """A person's registration after a command; None after its end."""

    person_id: str
    big_number: str | None
    profession: str | None
    valid_until: date | None


class ErasureReply(BaseModel):
    """A store has cleared what it held; ``cleared``: what → how many."""

    source: str
    answered_at: UtcTime
    cleared: dict[str, int]


class ErasureView(BaseModel):
    """An erasure, and who has answered it.

    Attributes:
        ground: on which it was done.
        replayed_at: when a restored backup had brought the key back, and it was destroyed again; None if never.
        awaited: stores that have not answered yet; one that ends with ``/*`` stands for a service never heard of.
    """

    patient_id: str
    erasure_id: str
    ground: ErasureGround
    erased_at: UtcTime
    erased_by: str
    replayed_at: UtcTime | None
    answered: list[ErasureReply]
    awaited: list[str]


class ErasureList(BaseModel):
    """All erasures."""

    items: list[ErasureView]


def status_of(case: Case) -> str:
    """Return how far a case is, in the words of the list of referrals."""
    if case.consent is not None:
        return "consented"
    if case.withdrawal is not None:
        return "consent-withdrawn"
    if case.decided is not None:
        return case.decided.decision
    return "referred" if case.screen is None else "screened"


def screen_view(case: Case) -> ScreenView | None:
    """Return the safety screen, if it was done."""
    if case.screen is None:
        return None
    return ScreenView(
        questionnaire=case.screen.questionnaire,
        questionnaire_version=case.screen.questionnaire_version,
        screened_at=case.screen.screened_at,
        answers=case.screen.answers,
        absolute=case.screen.absolute,
        to_judge=case.screen.to_judge,
        judgements=case.judgements,
        unjudged=case.unjudged,
    )


def screen_answer(case_id: str, case: Case) -> ScreenAnswer:
    """Return a case's safety screen as the answer of a command."""
    return ScreenAnswer(case_id=case_id, safety_screen=screen_view(case))


def advice_view(case_id: str, advice: Advice) -> AdviceView:
    """Return advice with the titles and sources of its rules."""
    return AdviceView(case_id=case_id, advice=advice.decision, rules=_rule_views(advice.rules))


def indication_view(case_id: str, case: Case) -> IndicationView:
    """Return the decision, or what it still needs."""
    if case.decided is None:
        return IndicationView(
            case_id=case_id,
            decision=None,
            advice=None,
            followed_advice=None,
            rules=[],
            still_needed=_still_needed(case),
        )
    return IndicationView(
        case_id=case_id,
        decision=case.decided.decision,
        advice=case.decided.advice,
        followed_advice=case.decided.followed_advice,
        rules=_rule_views(case.decided.rules),
        still_needed=[],
    )


def consent_view(case_id: str, case: Case) -> ConsentView:
    """Return whether consent stands, and since or until when."""
    if case.consent is None:
        withdrawn_at = None if case.withdrawal is None else case.withdrawal.withdrawn_at
        return ConsentView(case_id=case_id, given=False, withdrawn_at=withdrawn_at)
    return ConsentView(
        case_id=case_id,
        given=True,
        form_version=case.consent.form_version,
        given_by=case.consent.given_by,
        given_at=case.consent.given_at,
    )


def case_view(
    case: Case, referral: ReferralReceived, envelopes: Sequence[Envelope], file: OpenFile | None, reader: Actor
) -> CaseView:
    """Return a case for ``reader``.

    Args:
        case: its state.
        referral: its referral.
        envelopes: its events, the referral first.
        file: the patient's file where the reader may see it, else None.
        reader: who gets to see it; an EHR reads its own texts only.
    """
    case_id = referral.case_id
    return CaseView(
        case_id=case_id,
        patient_id=referral.patient_id,
        version=envelopes[-1].aggregateversion,
        status=status_of(case),
        identity=None if file is None else identity_view(file.identity),
        referral=_referral_view(referral, envelopes[0].time),
        safety_screen=screen_view(case),
        indication=indication_view(case_id, case),
        consent=consent_view(case_id, case),
        notes=[] if file is None else notes(envelopes, file, reader),
    )


def identity_view(identity: Identity) -> IdentityView:
    """Return who the patient is, to be shown."""
    return IdentityView.model_validate(identity.model_dump())


def notes(envelopes: Sequence[Envelope], file: OpenFile, reader: Actor) -> list[Note]:
    """Open every free text of a case's events; for an EHR its own only."""
    return [
        Note(
            event_id=envelope.id,
            event=envelope.type,
            written_at=envelope.time,
            person_id=envelope.actorid,
            text=file.read(sealed, envelope.id, envelope.type),
        )
        for envelope in envelopes
        if reader.roles & CARE_ROLES or envelope.actorid == reader.person_id
        for sealed in _sealed_texts(envelope.data)
    ]


def staff_answer(person_id: str, member: StaffMember) -> StaffAnswer:
    """Return a person's registration."""
    registration = member.registration
    return StaffAnswer(
        person_id=person_id,
        big_number=None if registration is None else registration.big_number,
        profession=None if registration is None else registration.profession,
        valid_until=None if registration is None else registration.valid_until,
    )


def _sealed_texts(data: Mapping[str, Any]) -> list[str]:
    return [value for name, value in data.items() if name.startswith("sealed_") and value is not None]


def _referral_view(referral: ReferralReceived, received_at: datetime) -> ReferralView:
    facts = referral.model_dump(include=set(ReferralView.model_fields))
    return ReferralView.model_validate({**facts, "received_at": received_at})


def _still_needed(case: Case) -> list[str]:
    if case.screen is None:
        return ["safety-screen"]
    return [f"judgement:{item}" for item in case.unjudged] or ["decision"]


def _rule_views(results: Sequence[RuleResult]) -> list[RuleView]:
    rules = depression_rules()
    views = []
    for result in results:
        rule = rules.rule(result.rule)
        views.append(
            RuleView(
                rule=result.rule,
                title=rule.title,
                outcome=result.outcome,
                explanation=result.explanation,
                source=rule.source,
                verified=rule.verified,
            )
        )
    return views
