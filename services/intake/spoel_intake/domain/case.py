"""A case: one patient's way from the referral to consent. Pure; ``decide`` returns events, ``evolve`` applies them."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.events import EventData
from spoel_common.people import check_role
from spoel_intake.commands import (
    CompleteScreen,
    DecideIndication,
    GiveConsent,
    IndicationFacts,
    JudgeItem,
    ReceiveReferral,
    WithdrawConsent,
)
from spoel_intake.domain.advice import Advice, ScreenSummary, advise, depression_rules
from spoel_intake.domain.given import Given
from spoel_intake.domain.questionnaire import check_version, findings, safety_questionnaire
from spoel_intake.domain.refusals import (
    AbsoluteExclusion,
    CaseUnknown,
    ConsentAlreadyGiven,
    ConsentBeforeIndication,
    ConsentNotGiven,
    ImpossibleValue,
    IndicationAlreadyDecided,
    IndicationNotSupportedYet,
    ReasonNeeded,
    ReferralExists,
    ScreenItemNotAcceptable,
    ScreenItemNotOpen,
    ScreenItemsUnjudged,
    ScreenMissing,
)
from spoel_intake.events import (
    ConsentGiven,
    ConsentWithdrawn,
    Decision,
    Indication,
    IndicationDecided,
    ReferralReceived,
    SafetyScreenCompleted,
    ScreenItemJudged,
)

CaseCommand = ReceiveReferral | CompleteScreen | JudgeItem | DecideIndication | GiveConsent | WithdrawConsent


class Case(BaseModel):
    """State of the aggregate ``case``.

    Attributes:
        judgements: item → acceptable, of the items answered yes that were judged.
        consent: the consent that stands; None before it is given and after it is withdrawn.
        withdrawal: the last withdrawal, while no new consent was given.
    """

    model_config = ConfigDict(frozen=True)

    referral: ReferralReceived | None = None
    screen: SafetyScreenCompleted | None = None
    judgements: Mapping[str, bool] = Field(default_factory=dict)
    decided: IndicationDecided | None = None
    consent: ConsentGiven | None = None
    withdrawal: ConsentWithdrawn | None = None

    @property
    def is_open(self) -> bool:
        """Whether the case goes on; one that is not indicated is closed."""
        return self.decided is None or self.decided.decision is Decision.INDICATED

    @property
    def unjudged(self) -> list[str]:
        """Items answered yes that wait for a judgement."""
        return [] if self.screen is None else [item for item in self.screen.to_judge if item not in self.judgements]


def decide(case: Case, command: CaseCommand, given: Given) -> list[EventData]:
    """Return what happens; raises a refusal of ``domain.refusals`` or of ``spoel_common.people``."""
    match command:
        case ReceiveReferral():
            return [_receive(case, command, given)]
        case CompleteScreen():
            return [_complete_screen(case, command, given)]
        case JudgeItem():
            return [_judge(case, command, given)]
        case DecideIndication():
            return [_decide_indication(case, command, given)]
        case GiveConsent():
            return [_give_consent(case, command, given)]
        case WithdrawConsent():
            return [_withdraw_consent(case, given)]


def evolve(case: Case, event: EventData) -> Case:
    """Return the state after ``event``."""
    changes: dict[str, object] = {}
    match event:
        case ReferralReceived():
            changes = {"referral": event}
        case SafetyScreenCompleted():
            changes = {"screen": event, "judgements": {}}
        case ScreenItemJudged():
            changes = {"judgements": {**case.judgements, event.item: event.acceptable}}
        case IndicationDecided():
            changes = {"decided": event}
        case ConsentGiven():
            changes = {"consent": event, "withdrawal": None}
        case ConsentWithdrawn():
            changes = {"consent": None, "withdrawal": event}
        case _:
            pass
    return case.model_copy(update=changes)


def advice_for(case: Case, facts: IndicationFacts) -> Advice:
    """Compute the advice without deciding anything.

    Raises:
        CaseUnknown, IndicationNotSupportedYet, ScreenMissing, ScreenItemsUnjudged: not enough is known to advise.
    """
    referral = _referral_of(case)
    if referral.indication is not Indication.DEPRESSION:
        raise IndicationNotSupportedYet(
            f"The referral for {referral.indication} is kept, but only the rules for depression are built. "
            "This case cannot go further in Spoel yet.",
            indication=referral.indication,
        )
    if case.screen is None:
        raise ScreenMissing("Complete the safety screen before the indication.")
    if case.unjudged:
        raise ScreenItemsUnjudged(
            f"Answered yes and not judged: {', '.join(case.unjudged)}. Have each judged first.", items=case.unjudged
        )
    judged = case.screen.to_judge
    summary = ScreenSummary(
        absolute=case.screen.absolute,
        acceptable=[item for item in judged if case.judgements[item]],
        not_acceptable=[item for item in judged if not case.judgements[item]],
    )
    return advise(facts, summary, depression_rules())


def take_over_withdrawal(case: Case, room_event_id: str, withdrawn_at: datetime) -> list[EventData]:
    """Record a withdrawal that happened in a room, whatever stands here by now.

    A consent that was given meanwhile ends too: whoever recorded it could not know, and asking once more costs little.

    Raises:
        CaseUnknown: no such case.
    """
    referral = _referral_of(case)
    withdrawn = ConsentWithdrawn(
        case_id=referral.case_id,
        patient_id=referral.patient_id,
        withdrawn_at=withdrawn_at,
        sealed_reason=None,
        room_event_id=room_event_id,
    )
    return [withdrawn]


def _referral_of(case: Case) -> ReferralReceived:
    if case.referral is None:
        raise CaseUnknown("No such case is known here. Check the case's id; a case begins with a referral.")
    return case.referral


def _receive(case: Case, command: ReceiveReferral, given: Given) -> EventData:
    check_role("refer", given.by)
    if case.referral is not None:
        raise ReferralExists("This case already has its referral.")
    if command.referred_on > given.today:
        raise ImpossibleValue(
            f"referred_on {command.referred_on} lies in the future. Give the day on the referral.",
            field="referred_on",
        )
    return ReferralReceived(
        case_id=command.case_id,
        patient_id=command.patient_id,
        channel=command.channel,
        referrer_kind=command.referrer_kind,
        referrer_agb=command.referrer_agb,
        indication=command.indication,
        referred_on=command.referred_on,
        external_id=command.external_id,
        sealed_question=given.sealed_text,
    )


def _complete_screen(case: Case, command: CompleteScreen, given: Given) -> EventData:
    given.may("screen")
    referral = _referral_of(case)
    _refuse_if_decided(case)
    questionnaire = safety_questionnaire()
    check_version(questionnaire, command.questionnaire, command.questionnaire_version)
    found = findings(questionnaire, command.answers)
    return SafetyScreenCompleted(
        case_id=referral.case_id,
        patient_id=referral.patient_id,
        questionnaire=questionnaire.id,
        questionnaire_version=questionnaire.version,
        answers=command.answers,
        absolute=found.absolute,
        to_judge=found.to_judge,
        screened_at=given.now,
    )


def _judge(case: Case, command: JudgeItem, given: Given) -> EventData:
    item = safety_questionnaire().item(command.item)
    given.may("judge-medical-item" if item is None or item.medical else "screen")
    referral = _referral_of(case)
    if case.screen is None:
        raise ScreenMissing("Complete the safety screen before judging its items.")
    _refuse_if_decided(case)
    if command.item in case.screen.absolute:
        raise AbsoluteExclusion(
            f"{command.item} is an absolute exclusion; nobody can judge it away. "
            "If the answer was wrong, complete the safety screen again.",
            item=command.item,
        )
    if command.item not in case.screen.to_judge:
        raise ScreenItemNotOpen(
            f"Item {command.item[:64]!r} was not answered yes. To judge: {', '.join(case.screen.to_judge) or 'none'}."
        )
    return ScreenItemJudged(
        case_id=referral.case_id,
        patient_id=referral.patient_id,
        item=command.item,
        acceptable=command.acceptable,
        sealed_reason=_sealed(given),
    )


def _decide_indication(case: Case, command: DecideIndication, given: Given) -> EventData:
    given.may("decide-indication")
    referral = _referral_of(case)
    _refuse_if_decided(case)
    advice = advice_for(case, command)
    if command.decision is Decision.INDICATED:
        _refuse_against_screen(case)
    followed = command.decision is advice.decision
    if not followed and given.sealed_text is None:
        raise ReasonNeeded(
            f"The rules advise {advice.decision}, the decision is {command.decision}: give a reason.",
            advice=advice.decision,
            rules=[rule.model_dump(mode="json") for rule in advice.rules],
        )
    return IndicationDecided(
        case_id=referral.case_id,
        patient_id=referral.patient_id,
        decision=command.decision,
        advice=advice.decision,
        followed_advice=followed,
        rules=advice.rules,
        sealed_reason=given.sealed_text,
    )


def _refuse_against_screen(case: Case) -> None:
    """Keep what the safety screen excludes from being overridden (IN-05, HZ-20)."""
    if case.screen is not None and case.screen.absolute:
        raise AbsoluteExclusion(
            f"Answered yes: {', '.join(case.screen.absolute)}. An absolute exclusion cannot be overridden; "
            "the decision can only be not-indicated.",
            items=case.screen.absolute,
        )
    refused = [item for item, acceptable in case.judgements.items() if not acceptable]
    if refused:
        raise ScreenItemNotAcceptable(
            f"Judged not acceptable: {', '.join(refused)}. Decide not-indicated, or have it judged again by "
            "somebody who may.",
            items=refused,
        )


def _give_consent(case: Case, command: GiveConsent, given: Given) -> EventData:
    given.may("record-consent")
    referral = _referral_of(case)
    if case.decided is None or case.decided.decision is not Decision.INDICATED:
        raise ConsentBeforeIndication("Consent is recorded after a positive indication. Decide the indication first.")
    if case.consent is not None:
        raise ConsentAlreadyGiven("Consent stands already. Withdraw it first if it is to be given anew.")
    return ConsentGiven(
        case_id=referral.case_id,
        patient_id=referral.patient_id,
        form_version=command.form_version,
        given_by=command.given_by,
        given_at=given.now,
    )


def _withdraw_consent(case: Case, given: Given) -> EventData:
    given.may("withdraw-consent")
    referral = _referral_of(case)
    if case.consent is None:
        raise ConsentNotGiven("No consent stands: it was never given, or was already withdrawn.")
    return ConsentWithdrawn(
        case_id=referral.case_id,
        patient_id=referral.patient_id,
        withdrawn_at=given.now,
        sealed_reason=given.sealed_text,
    )


def _refuse_if_decided(case: Case) -> None:
    if case.decided is not None:
        raise IndicationAlreadyDecided(
            f"The indication was decided as {case.decided.decision}; what led to it stays as it was."
        )


def _sealed(given: Given) -> str:
    if given.sealed_text is None:
        raise ReasonNeeded("A judgement needs a reason.")
    return given.sealed_text
