"""From head measures to the mark for the coil: Beam F3 and its mirror F4.

The printed formulas of Beam et al. 2009 (288 degrees, first circle not halved, or the variant of the abstract's
full text) put the mark off the head or 0.9 cm away; what the authors' own web calculator computes is used here, and
checked against a linear approximation (Mir-Moghtadaei et al. 2015) and against the size of a head.
"""

from math import atan, cos, degrees, hypot, radians, sin
from typing import NamedTuple

from spoel_planning.domain.refusals.measuring import HeadMeasureImplausible, TargetImplausible
from spoel_planning.domain.rules import Bounds, HeadRules

_FIFTHS = 0.4
"""Two steps of 20 % of the 10-20 system."""
_SHORTENING = 0.91
"""From the straight line in the plane to the line over the scalp."""
_DECIMALS = 3


class HeadMeasures(NamedTuple):
    """Lengths over the scalp in centimetres, by name: public vectors give them in different orders."""

    nasion_inion_cm: float
    tragus_tragus_cm: float
    circumference_cm: float


class Target(NamedTuple):
    """A mark on the scalp, in centimetres.

    Attributes:
        x_cm: along the circumference from the midline in front: to the left for F3, to the right for F4.
        y_cm: from the vertex along the line to the mark at ``x_cm``.
    """

    x_cm: float
    y_cm: float


def beam_target(head: HeadMeasures, rules: HeadRules) -> Target:
    """Return the mark, to 0.01 mm, for F3 as for F4.

    Raises:
        HeadMeasureImplausible: a measure outside its bounds.
        TargetImplausible: the result is outside its bounds or far from the linear approximation.
    """
    _check_measures(head, rules)
    target = _beam(head)
    check_target(target, head, rules)
    return Target(round(target.x_cm, _DECIMALS), round(target.y_cm, _DECIMALS))


def check_target(target: Target, head: HeadMeasures, rules: HeadRules) -> None:
    """Refuse a mark that cannot be right.

    Raises:
        TargetImplausible: outside its bounds, or farther from the linear approximation than allowed.
    """
    linear = rules.linear
    mean_arc_cm = (head.nasion_inion_cm + head.tragus_tragus_cm) / 2
    expectations = {
        "x_cm": (target.x_cm, rules.x_cm, linear.x_per_circumference * head.circumference_cm),
        "y_cm": (target.y_cm, rules.y_cm, linear.y_per_mean_arc * mean_arc_cm),
    }
    for name, (value, bounds, expected) in expectations.items():
        if not bounds.hold(value) or abs(value / expected - 1) > linear.max_deviation:
            raise TargetImplausible(
                f"{name} would be {value:.2f} cm; for these head measures about {expected:.2f} cm is expected, "
                f"and nothing outside {bounds.min:g} to {bounds.max:g} cm. Measure the head again.",
                field=name,
            )


def _check_measures(head: HeadMeasures, rules: HeadRules) -> None:
    all_bounds: dict[str, Bounds] = {
        "nasion_inion_cm": rules.nasion_inion_cm,
        "tragus_tragus_cm": rules.tragus_tragus_cm,
        "circumference_cm": rules.circumference_cm,
    }
    for name, bounds in all_bounds.items():
        value: float = getattr(head, name)
        if not bounds.hold(value):
            raise HeadMeasureImplausible(
                f"{name} is {value:g}; a plausible head has {bounds.min:g} to {bounds.max:g} cm. "
                "Measure again, and look whether two measures were swapped.",
                field=name,
            )


def _beam(head: HeadMeasures) -> Target:
    sagittal = _FIFTHS * head.nasion_inion_cm
    coronal = _FIFTHS * head.tragus_tragus_cm
    a = (coronal * sin(radians(324)) + sagittal / 2) / coronal
    b = sagittal * sin(radians(298)) / (sagittal * cos(radians(298)) - coronal / 2)
    x = (sagittal - coronal * b) / (2 * (a - b))
    y = a * x - sagittal / 2
    angle = degrees(atan(y / x))
    return Target(x_cm=head.circumference_cm / 4 * (90 + angle) / 90, y_cm=_SHORTENING * hypot(x, y))
