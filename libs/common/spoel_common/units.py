"""Units of intensity: percent of maximum stimulator output (%MSO) and percent of a motor threshold. Pure.

They are never converted into each other silently; ``set_percent_mso`` is the one place where it is done.
"""

from decimal import ROUND_FLOOR, Decimal
from typing import NewType

PercentMso = NewType("PercentMso", int)
"""Percent of maximum stimulator output: what a device is set to, a whole number from 0 to 100."""

PercentRmt = NewType("PercentRmt", float)
"""Percent of the resting motor threshold: what a protocol prescribes."""


def set_percent_mso(percent: PercentRmt, threshold: PercentMso) -> PercentMso:
    """Return the intensity to set for ``percent`` of ``threshold``, rounded down.

    The product is taken in decimal, so that 110 % of 50 is 55 and not 54.999….

    Args:
        percent: percent of the resting motor threshold.
        threshold: the threshold in percent of maximum stimulator output.
    """
    exact = Decimal(str(percent)) * Decimal(threshold) / Decimal(100)
    return PercentMso(int(exact.to_integral_value(rounding=ROUND_FLOOR)))
