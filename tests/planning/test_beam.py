"""Beam F3 and F4: public vectors, plausibility, and the printed formulas that must not be used."""

from math import atan, cos, degrees, hypot, radians, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.story import CASE, RULES, head

from spoel_planning.domain.beam import HeadMeasures, Target, beam_target, check_target
from spoel_planning.domain.measuring import measure_head
from spoel_planning.domain.refusals.measuring import HeadMeasureImplausible, TargetImplausible

# tragus-tragus, nasion-inion, circumference -> X, Y (centimetres)
VECTORS = [
    ((36, 38, 60), (6.955, 9.791)),
    ((36, 36, 56), (6.469, 9.500)),
    ((34, 34, 54), (6.238, 8.973)),
    ((38, 36, 58), (6.678, 9.721)),
    ((40, 40, 62), (7.163, 10.556)),
]


def of(tragus_tragus: float, nasion_inion: float, circumference: float) -> HeadMeasures:
    return HeadMeasures(nasion_inion_cm=nasion_inion, tragus_tragus_cm=tragus_tragus, circumference_cm=circumference)


@pytest.mark.requirement("PL-02")
@pytest.mark.parametrize(("measures", "target"), VECTORS)
def test_the_target_is_that_of_the_public_vectors(measures, target):
    assert beam_target(of(*measures), RULES.head) == pytest.approx(target, abs=0.0006)


@pytest.mark.requirement("PL-02")
def test_the_first_number_of_a_published_worked_example():
    assert beam_target(of(36, 38, 60), RULES.head).x_cm == pytest.approx(6.95, abs=0.01)


@pytest.mark.parametrize(("measures", "_target"), VECTORS)
def test_the_linear_approximation_agrees_within_a_hundredth(measures, _target):
    target = beam_target(of(*measures), RULES.head)
    tragus_tragus, nasion_inion, circumference = measures
    assert target.x_cm == pytest.approx(0.1154 * circumference, rel=0.02)
    assert target.y_cm == pytest.approx(0.2637 * (nasion_inion + tragus_tragus) / 2, rel=0.01)


@pytest.mark.hazard("HZ-03")
@pytest.mark.requirement("PL-02")
def test_f4_is_the_mirror_of_f3():
    _, left, right = measure_head(CASE, head(), RULES.head)
    assert (left.site, left.method, right.site, right.method) == ("left-dlpfc", "beam-f3", "right-dlpfc", "beam-f4")
    assert (left.x_cm, left.y_cm) == (right.x_cm, right.y_cm)


def _printed(measures: HeadMeasures, angle: float, *, halved: bool) -> Target:
    """The method with the paper's angle, or with the first circle not halved."""
    sagittal, coronal = 0.4 * measures.nasion_inion_cm, 0.4 * measures.tragus_tragus_cm
    offset = sagittal / 2 if halved else sagittal
    a = (coronal * sin(radians(324)) + offset) / coronal
    b = sagittal * sin(radians(angle)) / (sagittal * cos(radians(angle)) - coronal / 2)
    x = (sagittal - coronal * b) / (2 * (a - b))
    y = a * x - offset
    theta = degrees(atan(y / x))
    return Target(measures.circumference_cm / 4 * (90 + theta) / 90, 0.9 * hypot(x, y))


@pytest.mark.requirement("PL-02")
@pytest.mark.parametrize(
    "printed",
    [
        Target(23.9, 17.9),
        Target(22.3, 35.4),
        Target(6.09, 8.83),
        _printed(of(36, 38, 60), 288, halved=False),
        _printed(of(36, 38, 60), 298, halved=False),
    ],
)
def test_what_the_printed_formulas_give_is_refused(printed):
    with pytest.raises(TargetImplausible):
        check_target(printed, of(36, 38, 60), RULES.head)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nasion_inion_cm", 27.9),
        ("nasion_inion_cm", 44.1),
        ("tragus_tragus_cm", 12.0),
        ("tragus_tragus_cm", 60.0),
        ("circumference_cm", 36.0),
        ("circumference_cm", 560.0),
    ],
)
def test_an_implausible_measure_is_refused_by_name(field, value):
    with pytest.raises(HeadMeasureImplausible, match=field):
        measure_head(CASE, head(**{field: value}), RULES.head)


def test_plausible_measures_that_do_not_fit_each_other_are_refused():
    with pytest.raises(TargetImplausible, match="y_cm"):
        beam_target(of(44, 28, 56), RULES.head)


plausible_arcs = st.floats(min_value=32, max_value=42)


@settings(deadline=None)
@given(plausible_arcs, plausible_arcs, st.floats(min_value=50, max_value=64))
def test_every_target_lies_on_a_head(nasion_inion, tragus_tragus, circumference):
    target = beam_target(of(tragus_tragus, nasion_inion, circumference), RULES.head)
    assert 4.8 <= target.x_cm <= 8.5
    assert 7.0 <= target.y_cm <= 12.0
    assert target.x_cm < circumference / 4
