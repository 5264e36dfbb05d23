import itertools
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.intake.story import (
    NOW,
    NURSE,
    PHYSICIAN,
    PROFESSIONAL,
    TODAY,
    Story,
    given,
    indication,
    judgement,
    referral,
    screen,
    treatment,
    with_reason,
)

from spoel_common.errors import BigNumberInvalid, NotAllowed, ProfessionNotAllowed
from spoel_common.people import Profession, Role
from spoel_intake.commands import GiveConsent, WithdrawConsent
from spoel_intake.domain.case import advice_for
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
    ScreenItemsUnjudged,
    ScreenMissing,
)
from spoel_intake.events import Decision, Indication

CONSENT = GiveConsent(form_version="2026-1", given_by="patient")


@pytest.mark.requirement("IN-01")
def test_a_referral_opens_a_case(referred):
    event = referred.events[0]
    assert (event.case_id, event.patient_id, event.channel) == ("case-1", "patient-1", "rest")
    assert event.sealed_question == "c2VhbGVk"
    assert referred.case.is_open


@pytest.mark.requirement("IN-01")
@pytest.mark.parametrize("role", [Role.TMS_TECHNICIAN, Role.TRAINEE, Role.AUDITOR, Role.ROOM])
def test_who_may_not_refer_is_refused(role):
    with pytest.raises(NotAllowed):
        Story().tell(referral(), given(role))


def test_a_referral_from_the_future_is_refused():
    with pytest.raises(ImpossibleValue):
        Story().tell(referral(referred_on=TODAY + timedelta(days=1)), given(Role.EHR))


def test_a_case_has_one_referral(referred):
    with pytest.raises(ReferralExists):
        referred.tell(referral(), given(Role.EHR))


@pytest.mark.requirement("IN-08")
def test_advice_and_decision_are_both_recorded(screened):
    event = screened.tell(indication(), PROFESSIONAL)
    assert (event.decision, event.advice, event.followed_advice) == ("indicated", "indicated", True)
    assert {rule.rule for rule in event.rules} >= {"severity", "earlier-treatments", "absolute-exclusions"}
    assert event.sealed_reason is None


@pytest.mark.requirement("IN-08")
@pytest.mark.parametrize(
    ("decision", "changes"),
    [("not-indicated", {}), ("indicated", {"earlier_treatments": [treatment("antidepressant", "a")]})],
)
def test_a_decision_against_the_advice_needs_a_reason(screened, decision, changes):
    command = indication(decision, **changes)
    with pytest.raises(ReasonNeeded):
        screened.tell(command, PROFESSIONAL)
    event = screened.tell(command, with_reason(PROFESSIONAL))
    assert event.followed_advice is False
    assert event.sealed_reason == "c2VhbGVk"


@pytest.mark.requirement("IN-08")
def test_the_indication_is_decided_by_a_registered_professional(screened):
    decided = set()
    for role, profession in itertools.product(Role, [None, *Profession]):
        with suppress(NotAllowed, BigNumberInvalid, ProfessionNotAllowed):
            Story(screened.case).tell(indication(), given(role, profession))
            decided.add((role, profession))
    assert decided == set(itertools.product([Role.TMS_PROFESSIONAL, Role.SUPERVISOR, Role.PHYSICIAN], Profession))


def test_the_indication_is_decided_once(indicated):
    with pytest.raises(IndicationAlreadyDecided):
        indicated.tell(indication("not-indicated"), with_reason(PROFESSIONAL))


@pytest.mark.requirement("IN-05")
@pytest.mark.hazard("HZ-20")
def test_an_absolute_exclusion_cannot_be_overridden(referred):
    referred.tell(screen("cochlear-implant"), NURSE)
    for circumstances in (PROFESSIONAL, PHYSICIAN, given(Role.SUPERVISOR, Profession.PSYCHIATER)):
        with pytest.raises(AbsoluteExclusion, match="cochlear-implant"):
            referred.tell(indication(), with_reason(circumstances))
    event = referred.tell(indication("not-indicated"), PROFESSIONAL)
    assert event.followed_advice is True
    assert not referred.case.is_open


@pytest.mark.requirement("IN-05")
@pytest.mark.hazard("HZ-20")
def test_an_unjudged_item_stops_the_decision_either_way(referred):
    referred.tell(screen("medication"), NURSE)
    for decision in Decision:
        with pytest.raises(ScreenItemsUnjudged, match="medication"):
            referred.tell(indication(decision), with_reason(PROFESSIONAL))
    referred.tell(judgement("medication"), with_reason(PHYSICIAN))
    referred.tell(indication(), PROFESSIONAL)


@pytest.mark.hazard("HZ-20")
def test_who_decides_cannot_override_an_item_that_was_judged_not_acceptable(referred):
    referred.tell(screen("medication"), NURSE)
    referred.tell(judgement("medication", acceptable=False), with_reason(PHYSICIAN))
    with pytest.raises(ScreenItemNotAcceptable, match="medication"):
        referred.tell(indication(), with_reason(PROFESSIONAL))
    referred.tell(judgement("medication", acceptable=True), with_reason(PHYSICIAN))
    assert referred.tell(indication(), PROFESSIONAL).followed_advice is True


def test_no_indication_without_a_screen(referred):
    with pytest.raises(ScreenMissing):
        referred.tell(indication(), PROFESSIONAL)


def test_no_indication_without_a_case():
    with pytest.raises(CaseUnknown):
        Story().tell(indication(), PROFESSIONAL)


@pytest.mark.requirement("IN-06")
@pytest.mark.parametrize("other", [kind for kind in Indication if kind is not Indication.DEPRESSION])
def test_the_referral_for_another_indication_is_kept_and_its_rules_are_said_to_be_missing(other):
    story = Story()
    story.tell(referral(indication=other), given(Role.EHR))
    story.tell(screen(), NURSE)
    with pytest.raises(IndicationNotSupportedYet, match=other):
        story.tell(indication(), PROFESSIONAL)
    assert story.case.is_open


def test_advice_is_given_without_deciding(screened):
    before = screened.case
    assert advice_for(before, indication()).decision is Decision.INDICATED
    assert advice_for(before, indication(severity="mild")).decision is Decision.NOT_INDICATED
    assert screened.case == before


@pytest.mark.requirement("IN-11")
@pytest.mark.parametrize("giver", ["patient", "representative"])
def test_consent_is_given_after_a_positive_indication(indicated, giver):
    event = indicated.tell(GiveConsent(form_version="2026-1", given_by=giver), NURSE)
    assert (event.given_by, event.given_at, event.form_version) == (giver, NOW, "2026-1")


@pytest.mark.requirement("IN-11")
def test_consent_before_the_indication_is_refused(screened):
    with pytest.raises(ConsentBeforeIndication):
        screened.tell(CONSENT, NURSE)
    screened.tell(indication("not-indicated"), with_reason(PROFESSIONAL))
    with pytest.raises(ConsentBeforeIndication):
        screened.tell(CONSENT, NURSE)


@pytest.mark.requirement("IN-11")
def test_consent_can_be_withdrawn_at_any_time_and_given_again(indicated):
    indicated.tell(CONSENT, NURSE)
    event = indicated.tell(WithdrawConsent(), given(Role.TMS_TECHNICIAN))
    assert event.withdrawn_at == NOW
    assert indicated.case.consent is None
    indicated.tell(CONSENT, replace(NURSE, now=NOW + timedelta(hours=1)))
    assert indicated.case.withdrawal is None


@pytest.mark.requirement("IN-11")
def test_a_withdrawal_without_consent_is_refused(indicated):
    with pytest.raises(ConsentNotGiven):
        indicated.tell(WithdrawConsent(), NURSE)
    indicated.tell(CONSENT, NURSE)
    indicated.tell(WithdrawConsent(), NURSE)
    with pytest.raises(ConsentNotGiven):
        indicated.tell(WithdrawConsent(), NURSE)


def test_consent_is_given_once(indicated):
    indicated.tell(CONSENT, NURSE)
    with pytest.raises(ConsentAlreadyGiven):
        indicated.tell(CONSENT, NURSE)


@pytest.mark.requirement("IN-11")
@pytest.mark.parametrize("role", [Role.TMS_TECHNICIAN, Role.TRAINEE, Role.AUDITOR, Role.ROOM, Role.EHR])
def test_consent_is_recorded_by_a_registered_clinician(indicated, role):
    with pytest.raises(NotAllowed):
        indicated.tell(CONSENT, given(role))
