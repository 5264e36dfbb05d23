import itertools
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.intake.story import (
    NOW,
    NURSE,
    PHYSICIAN,
    PROFESSIONAL,
    TODAY,
    Story,
    given,
    judgement,
    person,
    registration_of,
    screen,
    with_reason,
)

from spoel_common.errors import BigNumberInvalid, NotAllowed, ProfessionNotAllowed, RegistrationNotVerified
from spoel_common.people import Profession, Role
from spoel_intake.domain.questionnaire import safety_questionnaire
from spoel_intake.domain.refusals import (
    AbsoluteExclusion,
    CaseUnknown,
    IndicationAlreadyDecided,
    QuestionnaireUnknown,
    ReasonNeeded,
    ScreenIncomplete,
    ScreenItemNotOpen,
    ScreenMissing,
)

ITEMS = safety_questionnaire().items
ABSOLUTE = [item.id for item in ITEMS if item.absolute]
MEDICAL = [item.id for item in ITEMS if item.medical and not item.absolute]
OTHER = [item.id for item in ITEMS if not item.medical and not item.absolute]

MAY_JUDGE_MEDICAL = {(Role.PHYSICIAN, Profession.ARTS), (Role.PHYSICIAN, Profession.PSYCHIATER)}
EVERYBODY = list(itertools.product(Role, [None, *Profession]))
MAY_SCREEN_ROLES = {Role.CLINICIAN, Role.PHYSICIAN, Role.TMS_PROFESSIONAL, Role.SUPERVISOR}
NOT_A_PERSON_OF_CARE = (NotAllowed, BigNumberInvalid, ProfessionNotAllowed, RegistrationNotVerified)


@pytest.mark.requirement("IN-05")
def test_the_questionnaire_has_all_thirteen_topics_in_both_languages_and_says_it_is_not_verified():
    questionnaire = safety_questionnaire()
    assert {item.topic for item in ITEMS} == set(range(1, 14))
    assert len({item.id for item in ITEMS}) == len(ITEMS)
    assert all("?" in item.text.nl and "?" in item.text.en and item.source for item in ITEMS)
    assert questionnaire.verified is False
    assert questionnaire.source


@pytest.mark.requirement("IN-05")
def test_every_absolute_exclusion_of_the_sources_is_absolute():
    assert set(ABSOLUTE) == {
        "epilepsy",
        "cochlear-implant",
        "pacemaker-or-heart-line",
        "stimulator-near-coil",
        "pump-near-coil",
        "metal-head-or-neck",
        "hearing-exclusion",
    }


@pytest.mark.requirement("IN-05")
def test_metal_implants_pregnancy_medication_and_seizures_are_medical():
    wanted = {"metal-elsewhere", "stimulator-elsewhere", "pump-elsewhere", "pregnancy", "medication", "seizure"}
    assert wanted <= set(MEDICAL)


@pytest.mark.requirement("IN-05")
def test_a_clear_screen_leaves_nothing_to_judge(referred):
    event = referred.tell(screen(), NURSE)
    assert (event.absolute, event.to_judge) == ([], [])
    assert event.screened_at == NOW
    assert set(event.answers) == {item.id for item in ITEMS}


@pytest.mark.requirement("IN-05")
def test_every_yes_is_either_absolute_or_to_judge(referred):
    event = referred.tell(screen(*(item.id for item in ITEMS)), NURSE)
    assert event.absolute == ABSOLUTE
    assert sorted(event.to_judge) == sorted(MEDICAL + OTHER)
    assert referred.case.unjudged == event.to_judge


def test_a_screen_without_an_answer_to_each_item_is_refused(referred):
    for item in ITEMS:
        answers = dict(screen().answers)
        del answers[item.id]
        with pytest.raises(ScreenIncomplete, match=f"Not answered: {item.id}\\."):
            referred.tell(screen(answers=answers), NURSE)
        assert referred.case.screen is None


def test_an_answer_to_an_unknown_item_is_refused(referred):
    with pytest.raises(ScreenIncomplete, match="shoe-size"):
        referred.tell(screen(answers={**screen().answers, "shoe-size": True}), NURSE)


@pytest.mark.parametrize("changes", [{"questionnaire": "other"}, {"questionnaire_version": "0"}])
def test_answers_to_another_questionnaire_are_refused(referred, changes):
    with pytest.raises(QuestionnaireUnknown):
        referred.tell(screen(**changes), NURSE)


def test_a_screen_without_a_referral_is_refused():
    with pytest.raises(CaseUnknown):
        Story().tell(screen(), NURSE)


def test_a_new_screen_replaces_the_old_one_and_its_judgements(referred):
    referred.tell(screen("medication"), NURSE)
    referred.tell(judgement("medication"), with_reason(PHYSICIAN))
    referred.tell(screen("medication", "seizure"), NURSE)
    assert referred.case.unjudged == ["seizure", "medication"]


def test_a_screen_after_the_decision_is_refused(indicated):
    with pytest.raises(IndicationAlreadyDecided):
        indicated.tell(screen(), NURSE)


@pytest.mark.hazard("HZ-20")
def test_a_medical_item_is_judged_by_a_registered_physician_only(referred):
    for role, profession in EVERYBODY:
        referred.tell(screen(*MEDICAL), NURSE)
        judged = _judge_each(referred, MEDICAL, role, profession)
        assert judged == (MEDICAL if (role, profession) in MAY_JUDGE_MEDICAL else []), (role, profession)


@pytest.mark.hazard("HZ-20")
def test_another_item_is_judged_by_any_registered_clinician(referred):
    for role, profession in EVERYBODY:
        referred.tell(screen(*OTHER), NURSE)
        may = role in MAY_SCREEN_ROLES and profession is not None
        assert _judge_each(referred, OTHER, role, profession) == (OTHER if may else []), (role, profession)


def _judge_each(story, items, role, profession):
    """Let somebody judge each item; return those that are judged afterwards."""
    for item in items:
        with suppress(*NOT_A_PERSON_OF_CARE):
            story.tell(judgement(item), with_reason(given(role, profession)))
    return [item for item in items if item not in story.case.unjudged]


@pytest.mark.hazard("HZ-20")
@pytest.mark.parametrize("item", ABSOLUTE)
@pytest.mark.parametrize("circumstances", [PHYSICIAN, given(Role.PHYSICIAN, Profession.PSYCHIATER)])
def test_nobody_judges_an_absolute_exclusion_away(referred, item, circumstances):
    referred.tell(screen(item), NURSE)
    with pytest.raises(AbsoluteExclusion, match=item):
        referred.tell(judgement(item), with_reason(circumstances))


@pytest.mark.parametrize("item", ["medication", "no-such-item"])
def test_an_item_that_was_not_answered_yes_needs_no_judgement(referred, item):
    referred.tell(screen("seizure"), NURSE)
    with pytest.raises(ScreenItemNotOpen):
        referred.tell(judgement(item), with_reason(PHYSICIAN))


def test_judging_before_the_screen_is_refused(referred):
    with pytest.raises(ScreenMissing):
        referred.tell(judgement("medication"), with_reason(PHYSICIAN))


def test_a_judgement_carries_its_sealed_reason(referred):
    referred.tell(screen("medication"), NURSE)
    with pytest.raises(ReasonNeeded):
        referred.tell(judgement("medication"), PHYSICIAN)
    event = referred.tell(judgement("medication", acceptable=False), with_reason(PHYSICIAN))
    assert (event.acceptable, event.sealed_reason) == (False, "c2VhbGVk")


@pytest.mark.invariant("INV-5")
@pytest.mark.parametrize(
    ("registration", "refusal"),
    [
        (None, RegistrationNotVerified),
        (registration_of(PHYSICIAN.by, big_number="19099999999"), RegistrationNotVerified),
        (registration_of(PHYSICIAN.by, valid_until=TODAY.replace(day=21)), RegistrationNotVerified),
        (registration_of(PHYSICIAN.by, profession="verpleegkundige"), ProfessionNotAllowed),
    ],
)
def test_what_the_staff_register_says_counts_not_the_token(referred, registration, refusal):
    referred.tell(screen("medication"), NURSE)
    with pytest.raises(refusal):
        referred.tell(judgement("medication"), replace(with_reason(PHYSICIAN), registration=registration))


@pytest.mark.invariant("INV-5")
@pytest.mark.parametrize("number", ["1901234560", "190123456011", "1901234560x", ""])
def test_a_big_number_has_eleven_digits(referred, number):
    actor = person(Role.CLINICIAN, Profession.VERPLEEGKUNDIGE, number)
    with pytest.raises(BigNumberInvalid):
        referred.tell(screen(), replace(PROFESSIONAL, by=actor, registration=registration_of(actor)))
