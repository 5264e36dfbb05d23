"""From percent of the motor threshold to the number that is set on the device (HZ-05)."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_common.units import PercentMso, PercentRmt, exact_percent, set_percent_mso

pytestmark = pytest.mark.hazard("HZ-05")


@pytest.mark.parametrize(
    ("percent", "threshold", "expected"),
    [(110, 50, 55), (120, 57, 68), (120, 100, 120), (80, 33, 26), (100, 61, 61), (115.5, 60, 69), (110.1, 50, 55)],
)
def test_the_product_is_rounded_down(percent, threshold, expected):
    assert set_percent_mso(PercentRmt(percent), PercentMso(threshold)) == expected


@given(st.integers(1, 2_000), st.integers(1, 100))
def test_the_set_value_is_never_above_and_less_than_one_below_the_exact_product(tenths, threshold):
    exact = Fraction(tenths, 1_000) * threshold
    value = set_percent_mso(PercentRmt(tenths / 10), PercentMso(threshold))
    assert value <= exact < value + 1


def test_a_fraction_that_was_calculated_is_not_rounded_before_the_product():
    assert set_percent_mso(Fraction(280, 3), PercentMso(75)) == 70
    assert exact_percent(PercentRmt(110.1)) == Fraction(1101, 10)
