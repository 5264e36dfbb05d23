import pytest
from pydantic import ValidationError

from spoel_stimulation.engine import Pattern

TEN_HZ = Pattern(bursts_per_train=40, burst_interval_s=0.1, trains=75, train_interval_s=30.0)
ITBS = Pattern(
    pulses_per_burst=3,
    pulse_interval_s=0.02,
    bursts_per_train=10,
    burst_interval_s=0.2,
    trains=20,
    train_interval_s=10.0,
)
ONE_HZ = Pattern(bursts_per_train=900, burst_interval_s=1.0, trains=1, train_interval_s=900.0)
DEEP = Pattern(bursts_per_train=36, burst_interval_s=1 / 18, trains=55, train_interval_s=22.0)


def test_counts_follow_from_the_nesting():
    assert (TEN_HZ.pulses_per_train, TEN_HZ.pulses) == (40, 3000)
    assert (ITBS.pulses_per_train, ITBS.pulses) == (30, 600)
    assert ONE_HZ.pulses == 900


def test_a_train_lasts_from_its_first_to_its_last_onset():
    assert TEN_HZ.train_duration_s == 3.9
    assert ITBS.train_duration_s == 1.84
    assert ONE_HZ.train_duration_s == 899.0


def test_the_highest_rate_of_theta_burst_is_that_within_the_burst():
    assert ITBS.highest_rate_hz == 50.0
    assert (ITBS.rate_hz, ITBS.mean_rate_hz) == (5.0, 15.0)
    assert TEN_HZ.highest_rate_hz == 10.0


def test_bursts_that_nearly_touch_have_their_highest_rate_between_them():
    nearly = Pattern(
        pulses_per_burst=2,
        pulse_interval_s=0.15,
        bursts_per_train=10,
        burst_interval_s=0.2,
        trains=1,
        train_interval_s=2.0,
    )
    assert nearly.highest_rate_hz == pytest.approx(20)
    one_pair = nearly.model_copy(update={"bursts_per_train": 1})
    assert one_pair.highest_rate_hz == pytest.approx(1 / 0.15)


def test_an_interval_that_is_no_whole_number_is_rounded_to_the_nanosecond_once():
    assert DEEP.burst_interval_ns == 55_555_556
    assert DEEP.train_duration_ns == 35 * 55_555_556


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"bursts_per_train": 0}, "greater than or equal to 1"),
        ({"trains": 0}, "greater than or equal to 1"),
        ({"pulses_per_burst": 0}, "greater than or equal to 1"),
        ({"pulses_per_burst": 3}, "pulse_interval_s"),
        ({"pulse_interval_s": 0.02}, "pulse_interval_s"),
        ({"pulses_per_burst": 6, "pulse_interval_s": 0.02}, "shorter than burst_interval_s"),
        ({"train_interval_s": 3.9}, "shorter than train_interval_s"),
        ({"burst_interval_s": 0.0}, "burst_interval_s"),
        ({"burst_interval_s": float("nan")}, "finite"),
        ({"bursts_per_train": 10_000, "train_interval_s": 1_000.0}, "at most 100000"),
        ({"frequency_hz": 10}, "frequency_hz"),
    ],
)
def test_a_pattern_that_contradicts_itself_is_refused(change, word):
    fields = {"bursts_per_train": 40, "burst_interval_s": 0.1, "trains": 75, "train_interval_s": 30.0}
    with pytest.raises(ValidationError, match=word):
        Pattern.model_validate(fields | change)


def test_a_pattern_survives_json():
    assert Pattern.model_validate_json(ITBS.model_dump_json()) == ITBS
