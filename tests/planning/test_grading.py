"""Grades against the published limits: tables, interpolation, pauses, and what nobody may override."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.story import RULES

from spoel_planning.domain.grading import (
    check_hard_limits,
    course_findings,
    grade_dose,
    margin_finding,
    table_cell,
    worst_grade,
)
from spoel_planning.domain.refusals.prescribing import AboveHighestFrequency, AboveHighestPercent, PauseTooShort
from spoel_planning.events.orders import Pattern

LIMITS = RULES.limits


def pulses(hz: float, number: int, trains: int = 10, pause_s: float = 26.0) -> Pattern:
    """Trains of single pulses with a pause between them."""
    return Pattern(
        pulses_per_burst=1,
        bursts_per_train=number,
        burst_interval_s=1 / hz,
        trains=trains,
        train_interval_s=number / hz + pause_s,
    )


def theta(pause_s: float = 8.0) -> Pattern:
    return Pattern(
        pulses_per_burst=3,
        pulse_interval_s=0.02,
        bursts_per_train=10,
        burst_interval_s=0.2,
        trains=20,
        train_interval_s=2 + pause_s,
    )


def grades(pattern: Pattern, percent: float) -> dict[str, str]:
    return {each.limit: each.grade for each in grade_dose(pattern, percent, LIMITS)}


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    ("hz", "number", "percent", "grade"),
    [
        (10, 32, 120, "within"),
        (10, 33, 120, "beyond-stricter-table"),
        (10, 40, 120, "beyond-stricter-table"),
        (10, 42, 120, "beyond-stricter-table"),
        (10, 43, 120, "beyond-limit"),
        (10, 51, 100, "beyond-longest-tested"),
        (10, 50, 110, "within"),
        (18, 36, 120, "beyond-limit"),
        (20, 40, 100, "beyond-stricter-table"),
        (20, 42, 100, "beyond-limit"),
        (25, 7, 120, "within"),
        (5, 50, 130, "within"),
        (5, 51, 130, "beyond-longest-tested"),
        (1, 180, 120, "within"),
        (1, 1200, 110, "beyond-stricter-table"),
        (1, 1200, 120, "beyond-longest-tested"),
        (0.5, 600, 110, "beyond-stricter-table"),
    ],
)
def test_a_train_is_graded_against_both_tables(hz, number, percent, grade):
    assert worst_grade(grade_dose(pulses(hz, number), percent, LIMITS)) == grade


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize(
    ("hz", "percent", "row", "column"),
    [
        (10, 120, 10, 120),
        (10, 110.01, 10, 110),
        (10, 110.02, 10, 120),
        (10, 119.15, 10, 120),
        (10.1, 100, 20, 100),
        (18, 95, 20, 100),
        (0.2, 60, 1, 90),
        (25, 130.01, 25, 130),
    ],
)
def test_between_rows_and_columns_the_next_stricter_one_counts(hz, percent, row, column):
    cell = table_cell(LIMITS.longest, hz, percent)
    assert (cell.hz, cell.percent_rmt) == (row, column)


@settings(deadline=None)
@given(st.floats(min_value=0.3, max_value=25), st.floats(min_value=50, max_value=120))
def test_a_stronger_train_is_never_graded_milder(hz, percent):
    severity = ["within", "beyond-stricter-table", "beyond-longest-tested", "not-covered", "beyond-limit"]
    train = pulses(hz, max(1, round(4 * hz)), trains=1)
    weaker, stronger = (worst_grade(grade_dose(train, each, LIMITS)) for each in (percent, percent + 10))
    assert severity.index(stronger) >= severity.index(weaker)


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize(
    ("pause_s", "percent", "grade"),
    [
        (5.0, 110, "within"),
        (4.9, 100, "beyond-limit"),
        (8.0, 120, "within"),
        (7.9, 120, "not-covered"),
        (7.9, 110.01, "within"),
        (4.9, 120, "beyond-limit"),
        (1.1, 100, "beyond-limit"),
    ],
)
def test_the_pause_between_trains_is_graded(pause_s, percent, grade):
    assert grades(pulses(10, 20, pause_s=pause_s), percent)["pause-between-trains"] == grade


def test_a_single_train_has_no_pause_to_grade():
    assert "pause-between-trains" not in grades(pulses(1, 100, trains=1), 110)


@pytest.mark.hazard("HZ-13")
def test_patterned_stimulation_is_not_covered_however_short():
    assert grades(theta(), 70) == {"train-duration": "not-covered", "pause-between-trains": "within"}
    assert grades(theta(pause_s=4), 70)["pause-between-trains"] == "beyond-limit"


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    ("pattern", "percent", "refusal"),
    [
        (pulses(10, 10), 130.1, AboveHighestPercent),
        (pulses(26, 5), 100, AboveHighestFrequency),
        (pulses(50, 5), 80, AboveHighestFrequency),
        (pulses(10, 20, pause_s=1.0), 80, PauseTooShort),
        (pulses(10, 20, pause_s=0.0), 80, PauseTooShort),
        (theta(pause_s=1.0), 80, PauseTooShort),
        (theta(), 131, AboveHighestPercent),
    ],
)
def test_some_doses_are_refused_whoever_asks(pattern, percent, refusal):
    with pytest.raises(refusal):
        check_hard_limits(pattern, percent, LIMITS.hard)


@pytest.mark.parametrize(
    ("pattern", "percent"), [(pulses(25, 5), 130), (theta(), 130.005), (pulses(10, 20, pause_s=1.01), 100)]
)
def test_the_edges_themselves_are_not_refused(pattern, percent):
    check_hard_limits(pattern, percent, LIMITS.hard)


@pytest.mark.hazard("HZ-06")
def test_the_margin_of_the_visible_method_is_shown_and_does_not_count():
    finding = margin_finding(pulses(10, 40), 120, RULES.threshold.margin, LIMITS)
    assert (finding.limit, finding.grade, finding.advisory) == ("threshold-method-margin", "beyond-limit", True)
    assert "133.6 %" in finding.explanation
    assert worst_grade([finding]) == "within"
    assert margin_finding(theta(), 80, RULES.threshold.margin, LIMITS).grade == "not-covered"
    assert margin_finding(pulses(10, 20), 100, RULES.threshold.margin, LIMITS).grade == "within"


@pytest.mark.requirement("PL-06")
@pytest.mark.parametrize(
    ("sessions", "per_week", "number", "warns"),
    [
        (30, 5, 75, set()),
        (30, 1, 75, {"course-frequency", "course-length"}),
        (40, 5, 75, {"course-sessions"}),
        (10, 5, 75, {"course-sessions"}),
        (30, 5, 20, {"session-pulses"}),
        (30, 3, 75, {"course-length"}),
    ],
)
def test_an_unusual_course_warns_and_refuses_nothing(sessions, per_week, number, warns):
    findings = course_findings(pulses(10, 40, trains=number), sessions, per_week, LIMITS.course)
    assert {each.limit for each in findings} == warns
    assert worst_grade(findings) == "within"


def test_every_finding_names_its_source_and_whether_it_was_verified():
    for finding in grade_dose(pulses(10, 40), 120, LIMITS):
        assert finding.source
        assert finding.verified is False
        assert finding.explanation.endswith((".", "for."))
