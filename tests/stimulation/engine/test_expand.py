import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_common.units import set_percent_mso
from spoel_stimulation.engine import Pattern, expand_session, expand_train

ITBS = Pattern(
    pulses_per_burst=3,
    pulse_interval_s=0.02,
    bursts_per_train=10,
    burst_interval_s=0.2,
    trains=20,
    train_interval_s=10.0,
)
TEN_HZ = Pattern(bursts_per_train=40, burst_interval_s=0.1, trains=75, train_interval_s=30.0)

patterns = st.builds(
    lambda burst, pulses, trains, gap_ms: Pattern(
        pulses_per_burst=pulses,
        pulse_interval_s=None if pulses == 1 else 0.02,
        bursts_per_train=burst,
        burst_interval_s=0.2,
        trains=trains,
        train_interval_s=burst * 0.2 + gap_ms / 1000,
    ),
    st.integers(1, 30),
    st.integers(1, 5),
    st.integers(1, 30),
    st.integers(0, 5000),
)


def test_theta_burst_onsets_are_exact_to_the_nanosecond():
    onset_ns = expand_session(ITBS, 50).onset_ns
    by_hand = [
        train * 10_000_000_000 + burst * 200_000_000 + pulse * 20_000_000
        for train in range(20)
        for burst in range(10)
        for pulse in range(3)
    ]
    assert onset_ns.dtype == np.int64
    assert onset_ns.tolist() == by_hand


def test_ten_hertz_standard_has_3000_pulses_and_ends_at_the_last_onset():
    session = expand_session(TEN_HZ, 61)
    assert session.onset_ns.shape == (3000,)
    assert session.onset_ns[-1] == 74 * 30_000_000_000 + 3_900_000_000
    assert session.train[[0, 39, 40, 2999]].tolist() == [0, 0, 1, 74]
    assert session.burst[[0, 39, 40]].tolist() == [0, 39, 0]
    assert (session.train.dtype, session.burst.dtype) == (np.int32, np.int32)
    assert (session.percent_mso.dtype, session.channel.dtype) == (np.int16, np.int8)
    assert set(session.percent_mso.tolist()) == {61}


def test_one_hertz_onsets_are_seconds_apart():
    pattern = Pattern(bursts_per_train=1200, burst_interval_s=1.0, trains=1, train_interval_s=1200.0)
    assert np.diff(expand_session(pattern, 40).onset_ns).tolist() == [1_000_000_000] * 1199


@given(patterns)
def test_trains_one_by_one_are_the_session(pattern):
    session = expand_session(pattern, 55)
    trains = [expand_train(pattern, index, 55) for index in range(pattern.trains)]
    assert np.array_equal(np.concatenate([train.onset_ns for train in trains]), session.onset_ns)
    assert np.array_equal(np.concatenate([train.burst for train in trains]), session.burst)
    assert np.all(np.diff(session.onset_ns) > 0)
    assert len(session.onset_ns) == pattern.pulses


@pytest.mark.hazard("HZ-05")
@given(st.floats(1, 130), st.integers(1, 76))
def test_the_set_intensity_is_never_more_than_the_percentage_of_the_threshold(percent, threshold):
    wanted = set_percent_mso(percent, threshold)
    assert set(expand_train(TEN_HZ, 0, wanted).percent_mso.tolist()) == {wanted}
    assert wanted <= percent * threshold / 100 + 1e-9


@pytest.mark.hazard("HZ-05")
@pytest.mark.parametrize(("asked", "set_to"), [(54.999, 54), (55, 55), (0.9, 0), (100, 100)])
def test_a_fraction_of_a_percent_is_rounded_down(asked, set_to):
    assert set(expand_train(TEN_HZ, 0, asked).percent_mso.tolist()) == {set_to}


@pytest.mark.hazard("HZ-05")
@pytest.mark.parametrize("asked", [-1, 101, 100.5, float("nan"), float("inf")])
def test_an_intensity_that_no_stimulator_has_is_refused(asked):
    with pytest.raises(ValueError, match="percent_mso"):
        expand_session(TEN_HZ, asked)


@pytest.mark.parametrize("index", [-1, 75])
def test_a_train_that_the_pattern_does_not_have_is_refused(index):
    with pytest.raises(ValueError, match="train_index"):
        expand_train(TEN_HZ, index, 50)
