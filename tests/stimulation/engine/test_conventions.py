"""One printed protocol, three meanings; what is kept has one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.stimulation.engine import protocols

from spoel_stimulation.engine import Convention, Train, duration_s, pause_s, read_duration, read_pause

A, B, C = Convention.WITH_LAST_PAUSE, Convention.SLOTS, Convention.PULSE_TO_PULSE
TEN_HZ = Train(10, 40)
THETA = Train(5, 10, 3, 0.02)


@pytest.mark.requirement("PL-04")
@pytest.mark.parametrize(
    ("pattern", "pause", "by_a", "by_b", "by_c"),
    [
        (protocols.HF_STANDARD, 26.0, 37 * 60 + 30, 37 * 60 + 4, 36 * 60 + 56.5),
        (protocols.DASH, 11.0, 18 * 60 + 45, 18 * 60 + 34, 18 * 60 + 26.5),
        (protocols.FIVE_SECONDS, 25.0, 30 * 60, 29 * 60 + 35, 29 * 60 + 29),
        (protocols.ITBS_600, 8.0, 200.0, 192.0, 188.8),
        (protocols.ITBS_1200, 8.0, 400.0, 392.0, 385.6),
        (protocols.SNT, 8.0, 600.0, 592.0, 582.4),
        (protocols.DEEP_H1, 20.0, 20 * 60 + 10, 19 * 60 + 50, 19 * 60 + 47),
        (protocols.DEEP_H7, 20.0, 18 * 60 + 20, 18 * 60, 17 * 60 + 57.5),
        (protocols.LOW_900, 0.0, 900.0, 900.0, 899.0),
    ],
)
def test_a_printed_pause_gives_three_durations(pattern, pause, by_a, by_b, by_c):
    found = [duration_s(pattern, convention, pause) for convention in (A, B, C)]
    assert found == pytest.approx([by_a, by_b, by_c], abs=0.06)


def test_the_pause_of_one_pattern_is_printed_in_two_ways():
    assert pause_s(protocols.ITBS_600, A) == pause_s(protocols.ITBS_600, B) == 8.0
    assert pause_s(protocols.ITBS_600, C) == 8.16
    assert pause_s(protocols.LOW_900, B) is None


def test_eight_seconds_from_last_pulse_to_first_is_another_pattern_than_eight_seconds_of_rest():
    assert read_pause(THETA, 20, 8, B).train_interval_s == read_pause(THETA, 20, 8, A).train_interval_s == 10.0
    by_last_pulse = read_pause(THETA, 20, 8, C)
    assert by_last_pulse.train_interval_s == 9.84
    assert duration_s(by_last_pulse, C) == 188.8


@pytest.mark.parametrize(
    ("convention", "printed_s"), [(A, 18 * 60 + 45), (B, 18 * 60 + 34), (C, 18 * 60 + 26.5 + 0.1 * 74)]
)
def test_a_printed_duration_is_read_into_the_same_intervals(convention, printed_s):
    assert read_duration(TEN_HZ, 75, printed_s, convention).train_interval_s == pytest.approx(15.0)


@settings(deadline=None)
@given(
    st.sampled_from(list(Convention)),
    st.sampled_from([TEN_HZ, THETA, Train(20, 40), Train(18, 36)]),
    st.integers(2, 80),
    st.integers(500, 60_000),
)
def test_what_is_read_prints_again_as_it_was(convention, train, trains, pause_ms):
    pattern = read_pause(train, trains, pause_ms / 1000, convention)
    assert pause_s(pattern, convention) == pytest.approx(pause_ms / 1000, abs=1e-8)
    again = read_duration(train, trains, duration_s(pattern, convention), convention)
    assert again.train_interval_s == pytest.approx(pattern.train_interval_s, abs=1e-8)


@pytest.mark.parametrize("convention", list(Convention))
def test_a_duration_too_short_for_its_trains_is_refused(convention):
    with pytest.raises(ValidationError, match="train_interval_s"):
        read_duration(TEN_HZ, 75, 200, convention)


def test_one_train_needs_no_pause():
    assert read_duration(Train(1, 1200), 1, 20 * 60, B) == protocols.LOW_1200
