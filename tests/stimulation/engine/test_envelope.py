"""Grades against the published limits: tables, interpolation, pauses, the cleared list, and what is refused."""

import math
import tomllib
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stimulation.engine import protocols

from spoel_stimulation.engine import Convention, Pattern, Train, read_pause
from spoel_stimulation.engine.envelope import GRADES, Dose, grade_dose, table_cell
from spoel_stimulation.engine.limits import Limits, example_cleared_list, published_limits, read_cleared_list

LIMITS, CLEARED = published_limits(), example_cleared_list()


def pulses(hz, number, trains=10, pause_s=26.0):
    return read_pause(Train(hz, number), trains, pause_s, Convention.SLOTS)


def theta(pause_s=8.0, trains=20):
    return read_pause(Train(5, 10, 3, 0.02), trains, pause_s, Convention.SLOTS)


def dose(pattern, percent=100, site="left-dlpfc", **around):
    """A dose on a threshold of 100, so that percents of output are percents of the threshold."""
    return Dose(pattern, percent, 100, site, **around)


def graded(*described, **around):
    return grade_dose(dose(*described, **around), LIMITS, CLEARED)


def by_limit(verdict):
    return {finding.limit: finding.grade for finding in verdict.findings}


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    ("hz", "number", "percent", "grade"),
    [
        (10, 32, 120, "within"),
        (10, 33, 120, "beyond-stricter-table"),
        (10, 42, 120, "beyond-stricter-table"),
        (10, 43, 120, "beyond-limit"),
        (10, 51, 100, "beyond-longest-tested"),
        (10, 50, 110, "within"),
        (18, 36, 120, "beyond-limit"),
        (20, 40, 100, "beyond-stricter-table"),
        (20, 42, 100, "beyond-limit"),
        (25, 7, 120, "within"),
        (5, 51, 130, "beyond-longest-tested"),
        (1, 180, 120, "within"),
        (1, 1200, 110, "beyond-stricter-table"),
        (1, 1200, 120, "beyond-longest-tested"),
        (0.5, 600, 110, "beyond-stricter-table"),
    ],
)
def test_a_train_is_graded_against_both_tables(hz, number, percent, grade):
    assert graded(pulses(hz, number), percent).grade == grade


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize(
    ("hz", "percent_mso", "threshold", "row", "column"),
    [
        (10, 60, 50, 10, 120),
        (10, 55, 50, 10, 110),
        (10, 56, 50, 10, 120),
        (10, 77, 70, 10, 110),
        (10, 68, 57, 10, 120),
        (10.1, 50, 50, 20, 100),
        (18, 19, 20, 20, 100),
        (0.2, 30, 50, 1, 90),
        (25, 65, 50, 25, 130),
    ],
)
def test_between_rows_and_columns_the_next_stricter_one_counts(hz, percent_mso, threshold, row, column):
    cell = table_cell(Dose(pulses(hz, 5), percent_mso, threshold), LIMITS.longest)
    assert (cell.hz, cell.percent_rmt) == (row, column)


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize(("over", "above"), [(1, False), (2, True)])
def test_a_hundredth_of_a_percent_is_rounding(over, above):
    assert Dose(pulses(10, 5), 11_000 + over, 10_000).is_above(110) is above


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    ("pause_s", "percent", "grade"),
    [
        (5.0, 110, "within"),
        (4.9, 100, "beyond-limit"),
        (8.0, 120, "within"),
        (7.9, 120, "not-covered"),
        (7.9, 110, "within"),
        (4.9, 120, "beyond-limit"),
        (1.1, 100, "beyond-limit"),
        (1.0, 100, "refused"),
        (0.5, 100, "refused"),
    ],
)
def test_the_pause_between_trains_is_graded(pause_s, percent, grade):
    assert graded(pulses(10, 20, pause_s=pause_s), percent).grade == grade


def test_a_single_train_has_no_pause_to_grade():
    assert "pause-between-trains" not in by_limit(graded(pulses(1, 100, trains=1), 110))


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    ("pattern", "percent", "limit"),
    [
        (pulses(10, 10), 131, "highest-percent"),
        (pulses(26, 5), 100, "highest-frequency"),
        (pulses(50, 5), 80, "highest-frequency"),
        (pulses(10, 20, pause_s=1.0), 80, "shortest-pause"),
        (theta(pause_s=1.0), 80, "shortest-pause"),
        (theta(), 131, "highest-percent"),
    ],
)
def test_some_doses_are_refused_whoever_signed(pattern, percent, limit):
    verdict = graded(pattern, percent)
    assert verdict.grade == "refused"
    assert by_limit(verdict)[limit] == "refused"


@pytest.mark.parametrize(("pattern", "percent"), [(pulses(25, 5), 130), (pulses(10, 20, pause_s=1.01), 100)])
def test_the_edges_themselves_are_not_refused(pattern, percent):
    assert graded(pattern, percent).grade != "refused"


# --- public protocols, right and wrong


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize(
    ("pattern", "percent", "grade"),
    [
        (protocols.HF_STANDARD, 120, "beyond-stricter-table"),
        (protocols.DASH, 120, "beyond-stricter-table"),
        (protocols.DEEP_H1, 120, "beyond-limit"),
        (protocols.DEEP_H7, 100, "beyond-stricter-table"),
        (protocols.LOW_1200, 120, "beyond-longest-tested"),
        (protocols.ITBS_600, 120, "not-covered"),
        (protocols.SNT, 90, "refused"),
        (protocols.CTBS_600, 70, "refused"),
        (protocols.QPS_5, 90, "refused"),
        (protocols.PAIRED, 100, "refused"),
    ],
)
def test_public_protocols_are_graded_as_they_stand(pattern, percent, grade):
    assert graded(pattern, percent).grade == grade


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    ("pattern", "percent", "grade"),
    [
        (pulses(10, 100, trains=30, pause_s=20), 120, "beyond-limit"),
        (pulses(50, 20, trains=30, pause_s=18), 80, "refused"),
        (read_pause(Train(5, 10, 2, 0.02), 30, 16, Convention.SLOTS), 80, "refused"),
    ],
    ids=["'10 Hz, 30 x 100 pulses'", "'iTBS, 30 x 20 pulses' as 50 Hz", "the same as pairs"],
)
def test_a_public_library_of_wrong_protocols_does_not_pass(pattern, percent, grade):
    """As a public "TMS Protocol Builder" prints them: 10 s trains as a maker's cleared protocol, iTBS of 20 a train."""
    assert graded(pattern, percent).grade == grade


@pytest.mark.hazard("HZ-12")
@settings(deadline=None)
@given(
    st.floats(0.3, 24),
    st.integers(2, 100),
    st.integers(2, 10),
    st.floats(1.6, 60),
    st.integers(60, 128),
    st.sampled_from(["faster", "longer", "stronger", "sooner"]),
)
def test_a_mutated_plan_is_never_graded_milder(hz, number, trains, pause_s, percent, mutation):
    before = graded(pulses(hz, number, trains, pause_s), percent).grade
    if mutation == "faster":
        number, hz = math.ceil(number * 25 / hz), 25
    elif mutation == "longer":
        number += 20
    elif mutation == "sooner":
        pause_s -= 0.5
    elif mutation == "stronger":
        percent += 2
    after = graded(pulses(hz, number, trains, pause_s), percent).grade
    assert GRADES.index(after) >= GRADES.index(before)


# --- patterned stimulation and the cleared list

ITBS = theta().model_dump()


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-13")
def test_theta_burst_within_its_row_is_not_covered_and_names_the_row():
    verdict = graded(theta(), 120)
    assert by_limit(verdict) == {
        "train-duration": "not-covered",
        "clinic-cleared-list": "within",
        "pause-between-trains": "within",
        "threshold-method-margin": "beyond-limit",
    }
    assert verdict.cleared_by.protocol_id == "itbs-600-left-dlpfc"
    assert graded(theta(trains=5), 80).grade == "not-covered"


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-13")
@pytest.mark.parametrize(
    ("pattern", "around", "field"),
    [
        ({"pulses_per_burst": 4}, {}, "pulses_per_burst"),
        ({"pulses_per_burst": 2}, {}, "pulses_per_burst"),
        ({"pulse_interval_s": 0.0201}, {}, "pulse_interval_s"),
        ({"pulse_interval_s": 0.0199}, {}, "pulse_interval_s"),
        ({"bursts_per_train": 11}, {}, "bursts_per_train"),
        ({"bursts_per_train": 9}, {}, "bursts_per_train"),
        ({"burst_interval_s": 0.2001}, {}, "burst_interval_s"),
        ({"burst_interval_s": 0.1999}, {}, "burst_interval_s"),
        ({"trains": 21}, {}, "trains"),
        ({"train_interval_s": 9.999}, {}, "train_interval_s"),
        ({}, {"percent": 121}, "percent"),
        ({}, {"site": "right-dlpfc"}, "site"),
        ({}, {"pulses_today": 1}, "pulses_per_day"),
        ({}, {"since_last_session_s": 14_399.9}, "pause_between_sessions_s"),
    ],
)
def test_each_field_of_a_cleared_row_one_step_over_is_refused(pattern, around, field):
    assert graded(Pattern.model_validate(ITBS), 120, since_last_session_s=14_400).grade == "not-covered"
    verdict = graded(Pattern.model_validate(ITBS | pattern), **({"percent": 120} | around))
    (clearance,) = (each for each in verdict.findings if each.limit == "clinic-cleared-list")
    assert verdict.grade == clearance.grade == "refused"
    assert field in clearance.explanation["en"].split(": ")[1]


@pytest.mark.hazard("HZ-13")
def test_the_pulses_of_a_session_are_bound_on_their_own():
    rows = [row.model_copy(update={"max_pulses_per_session": 599}) for row in CLEARED]
    assert grade_dose(dose(theta(), 120), LIMITS, rows).grade == "refused"


@pytest.mark.hazard("HZ-13")
def test_nothing_patterned_is_delivered_where_nothing_is_cleared():
    assert grade_dose(dose(theta(), 80), LIMITS, ()).grade == "refused"
    assert grade_dose(dose(pulses(10, 20), 100), LIMITS, ()).grade == "within"


def test_a_clinics_own_list_has_the_form_of_the_packaged_one():
    text = files("spoel_stimulation.engine").joinpath("data/cleared.toml").read_text(encoding="utf-8")
    assert read_cleared_list(text) == CLEARED
    assert read_cleared_list("") == ()


# --- what a person reads


@pytest.mark.hazard("HZ-06")
def test_the_margin_of_the_visible_method_is_shown_and_does_not_count():
    verdict = graded(pulses(10, 20), 120)
    margin = verdict.findings[-1]
    assert (margin.limit, margin.grade, margin.advisory) == ("threshold-method-margin", "beyond-limit", True)
    assert "133.6 %" in margin.explanation["en"]
    assert verdict.grade == "within"
    assert graded(pulses(10, 20), 100).findings[-1].grade == "within"


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize("pattern", [pulses(10, 40), theta(), theta(pause_s=1), pulses(30, 5)])
@pytest.mark.parametrize("percent", [120, 131])
def test_every_finding_names_its_limit_in_two_languages_with_source_and_whether_it_was_verified(pattern, percent):
    for finding in graded(pattern, percent).findings:
        assert finding.source
        assert isinstance(finding.verified, bool)
        assert set(finding.explanation) == {"nl", "en"}
        assert all(text.endswith(".") for text in finding.explanation.values())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: data["hard"].pop("refused_pause_s"), "refused_pause_s"),
        (lambda data: data["hard"].update(max_pause_s=3), "max_pause_s"),
        (lambda data: data["hard"].update(max_percent_rmt=140), "must end where the hard limits are"),
        (lambda data: data["longest"]["rows"].reverse(), "rows must ascend"),
        (lambda data: data["longest"]["percent_rmt"].reverse(), "columns must ascend"),
        (lambda data: data["stricter"]["rows"][0]["train_s"].pop(), "needs 4 columns"),
        (lambda data: data["pause"].pop("source"), "source"),
    ],
)
def test_limits_that_lack_something_are_refused(change, word):
    data = tomllib.loads(files("spoel_stimulation.engine").joinpath("data/limits.toml").read_text(encoding="utf-8"))
    change(data)
    with pytest.raises(ValueError, match=word):
        Limits.model_validate(data)
