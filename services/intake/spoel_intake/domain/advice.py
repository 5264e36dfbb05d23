"""The advice on an indication, rule by rule with a plain explanation (IN-02, IN-04, IN-05). A person decides.

Figures and sources stand in ``data/indication_depression.toml``.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from spoel_intake.commands import EarlierTreatment, IndicationFacts
from spoel_intake.domain.questionnaire import Bilingual
from spoel_intake.events import Decision, Outcome, RuleResult


class Rule(BaseModel):
    """Title and source of a rule; ``verified``: what it says was read in the source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Bilingual
    source: str
    verified: bool


class SeverityRule(Rule):
    """How severe a depression must be."""

    treatable: tuple[str, ...]


class CountRule(Rule):
    """How many treatments it takes at least."""

    least: int


class EarlierTreatmentsRule(CountRule):
    """Which earlier treatments count."""

    counted_kinds: tuple[str, ...]


class DepressionRules(BaseModel):
    """The rules for depression, by id (underscores for hyphens)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    indication: str
    version: str
    severity: SeverityRule
    earlier_treatments: EarlierTreatmentsRule
    medication_badly_tolerated: CountRule
    psychotic_features: Rule
    other_treatment_suitable: Rule
    absolute_exclusions: Rule
    judged_items: Rule

    def rule(self, rule_id: str) -> Rule:
        """Return the rule that a result names."""
        rule: Rule = getattr(self, rule_id.replace("-", "_"))
        return rule


class ScreenSummary(NamedTuple):
    """What the safety screen says: items answered yes, and the judgements of those that can be judged."""

    absolute: Sequence[str]
    acceptable: Sequence[str]
    not_acceptable: Sequence[str]


class Advice(NamedTuple):
    """What the rules say together: not indicated as soon as one is not met."""

    decision: Decision
    rules: list[RuleResult]


@cache
def depression_rules() -> DepressionRules:
    """Return the rules for depression."""
    text = files("spoel_intake").joinpath("data/indication_depression.toml").read_text(encoding="utf-8")
    return DepressionRules.model_validate(tomllib.loads(text))


def advise(facts: IndicationFacts, screen: ScreenSummary, rules: DepressionRules) -> Advice:
    """Apply every rule for depression to the facts and the judged safety screen."""
    results = [
        _severity(facts, rules.severity),
        *_earlier_treatments(facts.earlier_treatments, rules),
        _psychotic_features(facts),
        _other_treatment(facts),
        _absolute_exclusions(screen),
        _judged_items(screen),
    ]
    blocked = any(result.outcome is Outcome.NOT_MET for result in results)
    return Advice(Decision.NOT_INDICATED if blocked else Decision.INDICATED, results)


def _severity(facts: IndicationFacts, rule: SeverityRule) -> RuleResult:
    wanted = " or ".join(rule.treatable)
    return _result(
        "severity",
        met=facts.severity in rule.treatable,
        explanation=f"The depression is {facts.severity}; rTMS is for a depression that is {wanted}.",
    )


def _earlier_treatments(treatments: Sequence[EarlierTreatment], rules: DepressionRules) -> list[RuleResult]:
    """Count what failed, and see whether badly tolerated medication allows treatment earlier."""
    enough = rules.earlier_treatments
    failed = _failed_by_kind(treatments, enough)
    total = sum(failed.values())
    counts = " and ".join(f"{count} {kind}" for kind, count in failed.items())
    explanation = (
        f"Earlier treatments of adequate duration and dose without enough effect: {counts}; "
        f"{enough.least} different ones are needed."
    )
    badly_tolerated = sum(t.kind == "antidepressant" and t.stopped_for == "side-effects" for t in treatments)
    earlier_allowed = badly_tolerated >= rules.medication_badly_tolerated.least
    if total >= enough.least:
        earlier_outcome = Outcome.MET
    else:
        earlier_outcome = Outcome.NOT_APPLICABLE if earlier_allowed else Outcome.NOT_MET
    tolerance = RuleResult(
        rule="medication-badly-tolerated",
        outcome=Outcome.MET if earlier_allowed else Outcome.NOT_APPLICABLE,
        explanation=f"Antidepressants stopped for severe side effects: {badly_tolerated}; "
        f"from {rules.medication_badly_tolerated.least} on, treatment is allowed earlier.",
    )
    return [RuleResult(rule="earlier-treatments", outcome=earlier_outcome, explanation=explanation), tolerance]


def _failed_by_kind(treatments: Sequence[EarlierTreatment], rule: EarlierTreatmentsRule) -> dict[str, int]:
    """Count different treatments that failed; those of one kind without a code count as one together."""
    counts = {}
    for kind in rule.counted_kinds:
        codes = {
            None if t.name_code is None else t.name_code.casefold()
            for t in treatments
            if t.kind == kind and t.adequate and t.stopped_for == "insufficient-effect"
        }
        named = len(codes - {None})
        counts[kind] = max(named, 1) if None in codes else named
    return counts


def _psychotic_features(facts: IndicationFacts) -> RuleResult:
    found = "has" if facts.psychotic_features else "has no"
    return _result(
        "psychotic-features",
        met=not facts.psychotic_features,
        explanation=f"The depression {found} psychotic features; with them rTMS is not indicated.",
    )


def _other_treatment(facts: IndicationFacts) -> RuleResult:
    found = "can" if facts.other_treatment_suitable else "cannot"
    return _result(
        "other-treatment-suitable",
        met=not facts.other_treatment_suitable,
        explanation=f"The depression {found} be treated well in another way; if it can, rTMS is not indicated.",
    )


def _absolute_exclusions(screen: ScreenSummary) -> RuleResult:
    found = ", ".join(screen.absolute) or "none"
    return _result(
        "absolute-exclusions",
        met=not screen.absolute,
        explanation=f"Absolute exclusions answered yes in the safety screen: {found}.",
    )


def _judged_items(screen: ScreenSummary) -> RuleResult:
    if not screen.acceptable and not screen.not_acceptable:
        return RuleResult(
            rule="judged-items",
            outcome=Outcome.NOT_APPLICABLE,
            explanation="No other item of the safety screen was answered yes.",
        )
    return _result(
        "judged-items",
        met=not screen.not_acceptable,
        explanation=f"Items judged acceptable: {', '.join(screen.acceptable) or 'none'}; "
        f"not acceptable: {', '.join(screen.not_acceptable) or 'none'}.",
    )


def _result(rule: str, *, met: bool, explanation: str) -> RuleResult:
    return RuleResult(rule=rule, outcome=Outcome.MET if met else Outcome.NOT_MET, explanation=explanation)
