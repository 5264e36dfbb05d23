import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from tests.intake.story import TWO_TREATMENTS, treatment

from spoel_intake.commands import IndicationFacts
from spoel_intake.domain.advice import ScreenSummary, advise, depression_rules
from spoel_intake.events import Decision, Outcome

CLEAR = ScreenSummary(absolute=[], acceptable=[], not_acceptable=[])


def facts(**changes):
    usual = {
        "severity": "severe",
        "earlier_treatments": TWO_TREATMENTS,
        "psychotic_features": False,
        "other_treatment_suitable": False,
    }
    return IndicationFacts.model_validate({**usual, **changes})


def advice(screen=CLEAR, **changes):
    return advise(facts(**changes), screen, depression_rules())


def outcome(result, rule):
    return next(found.outcome for found in result.rules if found.rule == rule)


def not_met(result):
    return [found.rule for found in result.rules if found.outcome is Outcome.NOT_MET]


def test_every_rule_has_a_source_a_title_and_a_flag():
    rules = depression_rules()
    for result in advice().rules:
        rule = rules.rule(result.rule)
        assert rule.source
        assert rule.title.nl
        assert rule.title.en
    assert rules.medication_badly_tolerated.verified is False


def test_every_rule_explains_itself_whatever_comes_out():
    assert all(len(result.explanation) > 20 for result in advice().rules)


@pytest.mark.requirement("IN-02")
@pytest.mark.parametrize(
    ("treatments", "met"),
    [
        ([], False),
        ([treatment("antidepressant", "a")], False),
        ([treatment("psychotherapy", "a")], False),
        ([treatment("antidepressant", "a"), treatment("antidepressant", "b")], True),
        ([treatment("psychotherapy", "a"), treatment("psychotherapy", "b")], True),
        ([treatment("antidepressant", "a"), treatment("psychotherapy", "b")], True),
        ([treatment("antidepressant"), treatment("psychotherapy")], True),
        ([treatment("antidepressant", "a"), treatment("antidepressant", "A")], False),
        ([treatment("antidepressant"), treatment("antidepressant")], False),
        ([treatment("antidepressant"), treatment("antidepressant", "a")], False),
        ([treatment("other", "ect"), treatment("other", "ketamine")], False),
        ([treatment("other", "ect"), treatment("antidepressant", "a")], False),
        ([treatment("antidepressant", "a"), treatment("antidepressant", "b", adequate=False)], False),
        ([treatment("psychotherapy", "a"), treatment("psychotherapy", "b", stopped_for="side-effects")], False),
        ([treatment("antidepressant", "a"), treatment("antidepressant", "b"), treatment("psychotherapy", "c")], True),
    ],
)
def test_two_different_adequate_treatments_must_have_had_too_little_effect(treatments, met):
    result = advice(earlier_treatments=treatments)
    assert outcome(result, "earlier-treatments") is (Outcome.MET if met else Outcome.NOT_MET)
    assert result.decision is (Decision.INDICATED if met else Decision.NOT_INDICATED)


@pytest.mark.requirement("IN-02")
@pytest.mark.parametrize("adequate", [True, False])
def test_earlier_is_allowed_when_medication_is_badly_tolerated(adequate):
    badly_tolerated = treatment("antidepressant", "a", adequate=adequate, stopped_for="side-effects")
    result = advice(earlier_treatments=[badly_tolerated])
    assert result.decision is Decision.INDICATED
    assert outcome(result, "earlier-treatments") is Outcome.NOT_APPLICABLE
    assert outcome(result, "medication-badly-tolerated") is Outcome.MET


@pytest.mark.requirement("IN-02")
def test_a_psychotherapy_that_was_badly_tolerated_is_no_medication():
    result = advice(earlier_treatments=[treatment("psychotherapy", "a", stopped_for="side-effects")])
    assert result.decision is Decision.NOT_INDICATED
    assert outcome(result, "medication-badly-tolerated") is Outcome.NOT_APPLICABLE


@pytest.mark.requirement("IN-02")
@pytest.mark.parametrize(("severity", "met"), [("mild", False), ("moderate", True), ("severe", True)])
def test_the_depression_is_moderate_to_severe(severity, met):
    result = advice(severity=severity)
    assert not_met(result) == ([] if met else ["severity"])


@pytest.mark.requirement("IN-04")
def test_psychotic_features_advise_against():
    assert not_met(advice(psychotic_features=True)) == ["psychotic-features"]


@pytest.mark.requirement("IN-04")
def test_a_depression_that_can_be_treated_otherwise_is_not_indicated():
    assert not_met(advice(other_treatment_suitable=True)) == ["other-treatment-suitable"]


@pytest.mark.requirement("IN-05")
def test_an_absolute_exclusion_advises_against_and_is_named():
    result = advice(ScreenSummary(["epilepsy"], [], []))
    assert not_met(result) == ["absolute-exclusions"]
    assert any("epilepsy" in found.explanation for found in result.rules)


@pytest.mark.requirement("IN-05")
def test_an_item_judged_not_acceptable_advises_against():
    assert not_met(advice(ScreenSummary([], ["medication"], ["seizure"]))) == ["judged-items"]
    assert outcome(advice(ScreenSummary([], ["medication"], [])), "judged-items") is Outcome.MET
    assert outcome(advice(), "judged-items") is Outcome.NOT_APPLICABLE


TREATMENTS = st.lists(
    st.builds(
        lambda kind, code, adequate, stopped: treatment(kind, code, adequate=adequate, stopped_for=stopped),
        st.sampled_from(["antidepressant", "psychotherapy", "other"]),
        st.sampled_from([None, "a", "b", "c"]),
        st.booleans(),
        st.sampled_from(["insufficient-effect", "side-effects"]),
    ),
    max_size=6,
)


@for_all(
    severity=st.sampled_from(["mild", "moderate", "severe"]),
    treatments=TREATMENTS,
    psychotic=st.booleans(),
    other=st.booleans(),
    absolute=st.lists(st.sampled_from(["epilepsy", "cochlear-implant"]), unique=True),
    refused=st.lists(st.sampled_from(["seizure", "medication"]), unique=True),
)
def test_treatment_is_advised_exactly_when_no_rule_is_broken(severity, treatments, psychotic, other, absolute, refused):
    result = advise(
        facts(
            severity=severity,
            earlier_treatments=treatments,
            psychotic_features=psychotic,
            other_treatment_suitable=other,
        ),
        ScreenSummary(absolute, [], refused),
        depression_rules(),
    )
    assert (result.decision is Decision.INDICATED) == (not not_met(result))
    if severity == "mild" or psychotic or other or absolute or refused:
        assert result.decision is Decision.NOT_INDICATED


@for_all(treatments=TREATMENTS, more=TREATMENTS)
def test_more_treatments_that_failed_never_turn_the_advice_against(treatments, more):
    if advice(earlier_treatments=treatments).decision is Decision.INDICATED:
        assert advice(earlier_treatments=treatments + more).decision is Decision.INDICATED
