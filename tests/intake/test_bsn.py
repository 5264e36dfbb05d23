import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_intake.bsn import BsnInvalid, parse_bsn

VALID = [
    "111222333",
    "999996708",
    "999996630",
    "123456782",
    "999911120",
    "999990019",
    "999900006",
    "100000009",
    "010000008",
]

nine_digits = st.text("0123456789", min_size=9, max_size=9)


def passes_elfproef(digits: str) -> bool:
    """The rule as the regulation writes it: 9a + 8b + … + 2h - i is a multiple of eleven."""
    a, b, c, d, e, f, g, h, i = map(int, digits)
    total = 9 * a + 8 * b + 7 * c + 6 * d + 5 * e + 4 * f + 3 * g + 2 * h - i
    return digits != "000000000" and total % 11 == 0


@pytest.mark.parametrize("text", VALID)
def test_a_valid_bsn_is_taken_as_it_is(text):
    assert parse_bsn(text) == text


def test_a_number_of_eight_digits_gets_its_leading_zero():
    eight = next(f"{n:08d}" for n in range(10_000_000, 10_000_200) if passes_elfproef(f"0{n:08d}"))
    assert parse_bsn(eight) == "0" + eight


@pytest.mark.parametrize(
    "text",
    ["000000000", "00000000", "999998620", "123456789", "", "1", "1112223330", "0123456789", "11122233x", " 111222333",
     "111-222-333", "١١١٢٢٢٣٣٣", "-11222333", "1112223"],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(BsnInvalid):
        parse_bsn(text)


@given(nine_digits)
def test_exactly_the_numbers_that_pass_the_check_are_taken(digits):
    if passes_elfproef(digits):
        assert parse_bsn(digits) == digits
    else:
        with pytest.raises(BsnInvalid) as refusal:
            parse_bsn(digits)
        assert digits not in refusal.value.detail
        assert digits not in repr(refusal.value)
        assert refusal.value.facts == {}


@given(st.sampled_from(VALID), st.integers(0, 8), st.integers(1, 9))
def test_one_wrong_digit_is_always_found(valid, place, shift):
    wrong = valid[:place] + str((int(valid[place]) + shift) % 10) + valid[place + 1 :]
    with pytest.raises(BsnInvalid):
        parse_bsn(wrong)


@given(st.sampled_from(VALID), st.integers(0, 6))
def test_two_swapped_neighbours_are_always_found(valid, place):
    swapped = valid[:place] + valid[place + 1] + valid[place] + valid[place + 2 :]
    if swapped != valid:
        with pytest.raises(BsnInvalid):
            parse_bsn(swapped)
