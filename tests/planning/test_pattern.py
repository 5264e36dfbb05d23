"""What follows from a pattern, by the named conventions."""

import pytest

from spoel_planning.domain.pattern import (
    check_possible,
    highest_rate_hz,
    is_patterned,
    pause_s,
    pulses_per_session,
    rate_hz,
    session_s,
    train_s,
)
from spoel_planning.domain.refusals.prescribing import PatternImpossible
from spoel_planning.events.orders import Pattern

TEN_HZ = Pattern(pulses_per_burst=1, bursts_per_train=40, burst_interval_s=0.1, trains=75, train_interval_s=30)
THETA = Pattern(
    pulses_per_burst=3,
    pulse_interval_s=0.02,
    bursts_per_train=10,
    burst_interval_s=0.2,
    trains=20,
    train_interval_s=10,
)
ONE_HZ = Pattern(pulses_per_burst=1, bursts_per_train=1200, burst_interval_s=1, trains=1, train_interval_s=1200)


@pytest.mark.requirement("PL-04")
@pytest.mark.parametrize(
    ("pattern", "pulses", "train", "pause", "session"),
    [(TEN_HZ, 3000, 4.0, 26.0, 2224.0), (THETA, 600, 2.0, 8.0, 192.0), (ONE_HZ, 1200, 1200.0, None, 1200.0)],
)
def test_pulses_and_durations(pattern, pulses, train, pause, session):
    assert pulses_per_session(pattern) == pulses
    assert train_s(pattern) == pytest.approx(train)
    assert pause_s(pattern) == (None if pause is None else pytest.approx(pause))
    assert session_s(pattern) == pytest.approx(session)


def test_theta_burst_is_as_fast_as_its_closest_pulses():
    assert is_patterned(THETA)
    assert rate_hz(THETA) == pytest.approx(5)
    assert highest_rate_hz(THETA) == pytest.approx(50)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pulse_interval_s": 0.02}, "pulse_interval_s"),
        ({"pulses_per_burst": 3}, "pulse_interval_s"),
        ({"pulses_per_burst": 3, "pulse_interval_s": 0.05}, "burst_interval_s"),
        ({"bursts_per_train": 301}, "train_interval_s"),
    ],
)
def test_parts_that_overlap_are_refused(changes, field):
    with pytest.raises(PatternImpossible) as refusal:
        check_possible(TEN_HZ.model_copy(update=changes))
    assert refusal.value.facts["field"] == field


@pytest.mark.parametrize("pattern", [TEN_HZ, THETA, ONE_HZ])
def test_the_patterns_of_the_catalogue_are_possible(pattern):
    check_possible(pattern)
