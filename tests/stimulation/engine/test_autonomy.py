import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoel_stimulation.engine import AutonomyExceeded, Pattern, Session, expand, split_for_autonomy


def slow(pulses, interval_s=1.0, trains=1, train_interval_s=None):
    return Pattern(
        bursts_per_train=pulses,
        burst_interval_s=interval_s,
        trains=trains,
        train_interval_s=train_interval_s or pulses * interval_s,
    )


@pytest.mark.invariant("INV-11")
def test_one_hertz_goes_in_blocks_of_ten():
    blocks = split_for_autonomy(slow(900))
    assert (blocks.trains, blocks.bursts_per_train, blocks.train_interval_s) == (90, 10, 10.0)


@pytest.mark.invariant("INV-11")
@settings(deadline=None)
@given(st.integers(1, 2000), st.sampled_from([1.0, 10 / 9, 1.25, 10 / 7, 2.0, 10 / 3, 5.0, 10.0]))
def test_a_split_moves_no_onset_and_keeps_every_block_short(pulses, interval_s):
    pattern = slow(pulses, interval_s)
    blocks = split_for_autonomy(pattern)
    assert blocks.bursts_per_train <= 10
    assert blocks.train_duration_s <= 10.0
    assert blocks.pulses == pattern.pulses
    assert np.array_equal(expand(Session.of(blocks, 50)).onset_ns, expand(Session.of(pattern, 50)).onset_ns)


@pytest.mark.invariant("INV-11")
def test_slow_trains_without_a_pause_between_them_are_one_row_of_blocks():
    blocks = split_for_autonomy(slow(300, trains=4))
    assert (blocks.trains, blocks.bursts_per_train) == (120, 10)


@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize(
    "pattern",
    [
        Pattern(bursts_per_train=40, burst_interval_s=0.1, trains=75, train_interval_s=30.0),
        Pattern(
            pulses_per_burst=3,
            pulse_interval_s=0.02,
            bursts_per_train=10,
            burst_interval_s=0.2,
            trains=20,
            train_interval_s=10.0,
        ),
        slow(10),
        slow(1),
        Pattern(
            pulses_per_burst=4,
            pulse_interval_s=0.005,
            bursts_per_train=2,
            burst_interval_s=5.0,
            trains=180,
            train_interval_s=10.0,
        ),
    ],
)
def test_trains_that_are_short_enough_stay_as_they_are(pattern):
    assert split_for_autonomy(pattern) == pattern


@pytest.mark.invariant("INV-11")
def test_bursts_count_by_their_pulses():
    quadripulse = Pattern(
        pulses_per_burst=4,
        pulse_interval_s=0.005,
        bursts_per_train=360,
        burst_interval_s=5.0,
        trains=1,
        train_interval_s=1800.0,
    )
    blocks = split_for_autonomy(quadripulse)
    assert blocks.pulses_per_train <= 10
    assert (blocks.bursts_per_train, blocks.trains) == (2, 180)


@pytest.mark.invariant("INV-11")
def test_continuous_theta_burst_is_refused():
    with pytest.raises(AutonomyExceeded, match=r"39\.84 s is longer than the 10\.0 s"):
        split_for_autonomy(
            Pattern(
                pulses_per_burst=3,
                pulse_interval_s=0.02,
                bursts_per_train=200,
                burst_interval_s=0.2,
                trains=1,
                train_interval_s=40.0,
            )
        )


@pytest.mark.invariant("INV-11")
def test_slow_trains_with_pauses_that_make_no_even_row_are_refused():
    with pytest.raises(AutonomyExceeded, match="pause between them"):
        split_for_autonomy(slow(300, trains=4, train_interval_s=360.0))


@pytest.mark.invariant("INV-11")
def test_one_burst_beyond_the_block_size_is_refused():
    with pytest.raises(AutonomyExceeded, match="one burst of 3 pulses"):
        split_for_autonomy(
            Pattern(
                pulses_per_burst=3,
                pulse_interval_s=0.02,
                bursts_per_train=2,
                burst_interval_s=5.0,
                trains=1,
                train_interval_s=10.0,
            ),
            slow_block_pulses=2,
        )
