"""Energy, pauses and rates of a power supply: the figures of the Rapid2."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stimulation.engine import protocols

from spoel_stimulation.engine import Part, Ramp, Session, expand
from spoel_stimulation.engine.load import PowerSupply, amount_of

RAPID = PowerSupply(joules_at_full_output=252.0, mean_power_w=1050.0)


@pytest.mark.parametrize(("percent", "energy_j"), [(30, 22.7), (50, 63.0), (72, 130.6), (80, 161.3), (100, 252.0)])
def test_energy_goes_with_the_square_of_the_intensity(percent, energy_j):
    assert RAPID.pulse_energy_j(percent) == pytest.approx(energy_j, abs=0.06)
    assert RAPID.train_energy_j(40, percent) == 40 * RAPID.pulse_energy_j(percent)


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize(
    ("percent", "rate_hz", "on_time_s", "wait_s"),
    [
        (72, 10, 48.2, 0.98),
        (96, 10, 27.1, 4.85),
        (80, 20, 19.5, 4.14),
        (60, 10, 69.4, 0.5),
        (100, 10, 25.0, 5.60),
        (80, 10, 39.1, 2.14),
        (50, 10, 100.0, 0.5),
    ],
)
def test_on_time_and_wait_after_forty_pulses(percent, rate_hz, on_time_s, wait_s):
    assert RAPID.longest_on_time_s(rate_hz, percent) == pytest.approx(on_time_s, abs=0.06)
    assert RAPID.minimum_wait_s(40, rate_hz, percent) == pytest.approx(wait_s, abs=0.006)


@pytest.mark.parametrize(("percent", "rate_hz"), [(100, 4.17), (80, 6.51), (50, 16.67)])
def test_highest_rate_that_can_go_on_for_ever(percent, rate_hz):
    assert RAPID.highest_continuous_rate_hz(percent) == pytest.approx(rate_hz, abs=0.005)


@settings(deadline=None)
@given(st.integers(1, 100), st.floats(0.1, 30), st.integers(1, 1000))
def test_with_its_wait_a_train_never_asks_for_more_than_the_mean_power(percent, rate_hz, pulses):
    lasts_s = pulses / rate_hz + RAPID.minimum_wait_s(pulses, rate_hz, percent)
    assert RAPID.train_energy_j(pulses, percent) <= RAPID.mean_power_w * lasts_s * (1 + 1e-9)


def test_no_output_asks_for_nothing():
    assert RAPID.highest_continuous_rate_hz(0) == RAPID.longest_on_time_s(10, 0) == float("inf")
    assert RAPID.minimum_wait_s(40, 10, 0) == 0.5


def test_the_dose_of_a_session_is_that_of_its_pulses():
    ramp = Ramp(from_percent=70, trains=5)
    session = Session(parts=(Part(pattern=protocols.HF_STANDARD, percent_mso=60.7, ramp=ramp),))
    pulses = expand(session).percent_mso.tolist()
    amount = amount_of(session, 252.0)
    assert amount.pulses == 3000
    assert amount.energy_j == pytest.approx(sum(RAPID.pulse_energy_j(percent) for percent in pulses))
    assert amount_of(protocols.BILATERAL, None) == (2100, None)


def test_the_dose_of_pairs_counts_both_pulses():
    pair = Session(parts=(Part(pattern=protocols.PAIRED, percent_mso=40, second_percent_mso=60),))
    assert amount_of(pair, 100.0).energy_j == pytest.approx(30 * (16 + 36))
