"""Units of intensity: percent of maximum stimulator output (%MSO) and percent of a motor threshold. Pure.

They are never converted into each other silently; ``set_percent_mso`` is the one place where it is done.
"""

import math
from fractions import Fraction
from typing import NewType

PercentMso = NewType("PercentMso", int)
"""Percent of maximum stimulator output: what a device is set to, a whole number from 0 to 100."""

PercentRmt = NewType("PercentRmt", float)
"""Percent of the resting motor threshold: what a protocol prescribes."""


def exact_percent(percent: PercentRmt) -> Fraction:
    """Return a percentage as it was written in decimal: 110.1 is 1101/10, and not the float next to it."""
    return Fraction(str(percent))


def set_percent_mso(percent: PercentRmt | Fraction, threshold: PercentMso) -> PercentMso:
    """Return the intensity to set for ``percent`` of ``threshold``, rounded down.

    The product is exact, so that 110 % of 50 is 55 and not 54.999….

    Args:
        percent: percent of the resting motor threshold; a fraction where it was calculated.
        threshold: the threshold in percent of maximum stimulator output.
    """
    exact = percent if isinstance(percent, Fraction) else exact_percent(percent)
    return PercentMso(math.floor(exact * threshold / 100))
