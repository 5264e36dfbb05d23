"""The coil's temperature, forecast before the session."""

import numpy as np
import pytest
from tests.stimulation.engine import protocols

from spoel_stimulation.engine import Part, Pattern, Ramp, Session, expand
from spoel_stimulation.engine.circuits import circuit_of
from spoel_stimulation.engine.heat import coil_heat, forecast, heat_data, warming_k

COOLED, BARE = coil_heat("Cool-B65"), coil_heat("C-B60")
HEAT_J = circuit_of("MagPro X100").heat_at_full_j("biphasic")


def step_by_step(session, coil, start_c):
    """The same model, pulse by pulse."""
    pulses = expand(session)
    above, last_s, found = start_c - coil.ambient_c, 0.0, []
    for onset_ns, percent in zip(pulses.onset_ns.tolist(), pulses.percent_mso.tolist(), strict=True):
        onset_s = onset_ns / 1e9
        above = above * np.exp(-(onset_s - last_s) / coil.time_constant_s)
        above += warming_k(coil, "biphasic", HEAT_J * (percent / 100) ** 2)
        last_s = onset_s
        found.append(above + coil.ambient_c)
    return np.array(found)


@pytest.mark.parametrize(
    "session",
    [
        Session.of(protocols.HF_STANDARD, 60),
        Session(parts=(Part(pattern=protocols.SNT, percent_mso=80, ramp=Ramp(from_percent=60, trains=9)),)),
        protocols.BILATERAL,
        Session.of(Pattern(bursts_per_train=5, burst_interval_s=1.0, trains=40, train_interval_s=4000.0), 100),
    ],
    ids=["10 Hz", "SNT with ramp", "bilateral", "far apart"],
)
@pytest.mark.parametrize("coil", [COOLED, BARE], ids=["cooled", "bare"])
def test_the_forecast_is_the_model_pulse_by_pulse(session, coil):
    found = forecast(session, coil, "biphasic", HEAT_J, start_c=30.0)
    expected = step_by_step(session, coil, 30.0)
    assert found.temperature_c == pytest.approx(expected)
    assert found.highest_c == found.temperature_c.max()
    assert len(found.onset_s) == session.pulses


@pytest.mark.hazard("HZ-19")
def test_a_coil_that_would_become_too_warm_is_known_before_the_session():
    session = Session.of(protocols.HF_STANDARD, 60)
    assert forecast(session, COOLED, "biphasic", HEAT_J).too_warm_at_s is None
    found = forecast(session, BARE, "biphasic", HEAT_J)
    assert found.limit_c == heat_data().limits.warn_c
    assert 0 < found.too_warm_at_s < session.duration_ns / 1e9
    index = np.flatnonzero(found.onset_s == found.too_warm_at_s)[0]
    assert found.temperature_c[index] > found.limit_c >= found.temperature_c[index - 1]


@pytest.mark.hazard("HZ-19")
def test_a_warm_coil_is_too_warm_sooner():
    session = Session.of(protocols.HF_STANDARD, 60)
    cold, warm = (forecast(session, BARE, "biphasic", HEAT_J, start_c=start_c) for start_c in (22, 35))
    assert warm.too_warm_at_s < cold.too_warm_at_s


def test_an_idle_coil_cools_towards_the_room():
    found = forecast(Session.of(protocols.LOW_1800, 0), BARE, "biphasic", HEAT_J, start_c=40.0)
    assert found.temperature_c[-1] == pytest.approx(22 + 18 * np.exp(-1799 / BARE.time_constant_s))


def test_an_unknown_coil_has_no_forecast_and_the_data_say_that_nobody_measured():
    assert coil_heat("coil-99") is None
    assert not any(coil.verified for coil in heat_data().coil)
    assert not heat_data().limits.verified
