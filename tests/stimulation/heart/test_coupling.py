"""The analysis on synthetic hearts whose coupling is known: what is there is found, what is not is not (PL-11)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spoel_stimulation.engine.coupling import (
    Beats,
    Coupling,
    Cycle,
    NoResult,
    SpectrumRules,
    find_artefacts,
    in_cycle,
    measure,
    rank,
)
from spoel_stimulation.heart.model import BREATH_HZ, HeartSetting, beats_from, synthetic_beats
from spoel_stimulation.heart.rules import heart_rules

pytestmark = pytest.mark.requirement("PL-11")

RULES = heart_rules()
DASH = Cycle(period_s=16.0, train_s=5.0, trains=12)
"""5 s of 10 Hz and 11 s pause."""
ITBS = Cycle(period_s=10.0, train_s=2.0, trains=20)
ANALYSED = ("power_bpm2", "noise_bpm2", "p_value", "amplitude_bpm", "trough_s")


def measured(seed, cycle=DASH, **heart):
    return measure(synthetic_beats(HeartSetting(**heart), cycle, seed), cycle, RULES)


def ranking(couplings, seed, **heart):
    found = {
        name: measured(1_000 * seed + place, coupling_bpm=coupling, **heart)
        for place, (name, coupling) in enumerate(couplings.items())
    }
    return rank(found, RULES.ranking)


def beats_of_cosine(amplitude_bpm, phase, cycle=DASH, base=66.0, trend=0.0):
    """Return the beats of a heart whose rate is a cosine at the cycle frequency, on a slow trend."""
    rr_ms, time_s = [], -2.0
    while time_s < cycle.trains * cycle.period_s:
        rate = base + trend * time_s + amplitude_bpm * np.cos(2 * np.pi * time_s / cycle.period_s - phase)
        rr_ms.append(60_000 / rate)
        time_s += 60 / rate
    return beats_from(rr_ms, -2.0)


@settings(max_examples=25, deadline=None)
@given(
    amplitude=st.floats(0.5, 8.0),
    phase=st.floats(0, 2 * np.pi),
    base=st.floats(50, 90),
    trend=st.floats(-0.02, 0.02),
)
def test_the_power_of_a_known_cosine_is_recovered(amplitude, phase, base, trend):
    found = measure(beats_of_cosine(amplitude, phase, base=base, trend=trend), DASH, RULES)
    assert isinstance(found, Coupling)
    assert found.amplitude_bpm == pytest.approx(amplitude, rel=0.08)
    assert found.power_bpm2 == pytest.approx(amplitude**2 / 2, rel=0.16)
    wanted_s = ((phase + np.pi) / (2 * np.pi) % 1.0) * DASH.period_s
    away_s = abs(found.trough_s - wanted_s)
    assert min(away_s, DASH.period_s - away_s) < 0.8
    assert found.p_value < 1e-3


@pytest.mark.parametrize("cycle", [DASH, ITBS], ids=["10 Hz", "theta burst"])
def test_a_heart_that_slows_is_found_at_the_right_phase(cycle):
    for seed in range(12):
        found = measured(seed, cycle, coupling_bpm=6.0)
        assert isinstance(found, Coupling)
        assert found.slows
        assert found.p_value < 0.01
        assert 1.0 < found.trough_s < cycle.train_s + 2.5
        assert found.cycle_hz == pytest.approx(1 / cycle.period_s)


def test_what_is_found_grows_with_the_coupling():
    means = [
        np.mean([measured(seed, coupling_bpm=coupling).amplitude_bpm for seed in range(10)]) for coupling in (3, 5, 8)
    ]
    assert means == sorted(means)
    assert means[2] / means[1] == pytest.approx(8 / 5, rel=0.15)


def test_a_heart_that_is_not_coupled_is_found_coupled_no_more_often_than_said():
    found = [measured(seed) for seed in range(100)]
    chance = [each.p_value < 0.05 for each in found]
    assert np.mean(chance) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))
    assert 0.25 < np.mean([each.slows for each in found]) < 0.75, "the phase of noise is anywhere"


def test_without_coupling_nothing_is_ranked():
    verdicts = [ranking({"F3": 0.0, "F3+front": 0.0, "FC3": 0.0}, seed).verdict for seed in range(12)]
    assert verdicts.count("ranked") <= 1
    assert verdicts.count("no-coupling") >= 10


def test_a_heart_that_quickens_is_no_coupling():
    found = measured(3, coupling_bpm=-8.0)
    assert found.p_value < 0.01
    assert not found.slows
    for seed in range(6):
        answer = ranking({"F3": -8.0, "FC3": -6.0}, seed)
        assert (answer.verdict, answer.best) == ("no-coupling", None)
        assert all(location.fall_bpm < 0 for location in answer.locations)


@pytest.mark.parametrize("heart", [{}, {"ectopic_fraction": 0.03}, {"missed_fraction": 0.04}], ids=str)
def test_the_strongest_location_is_ranked_first(heart):
    for seed in range(4):
        answer = ranking({"FC3": 1.0, "F3": 8.0, "F3+front": 2.0}, seed, **heart)
        assert (answer.verdict, answer.best) == ("ranked", "F3")
        assert answer.locations[0].coupled


def test_locations_that_do_not_differ_are_not_told_apart():
    answers = [ranking({"F3": 6.0, "F3+front": 6.0, "FC3": 6.0}, seed) for seed in range(10)]
    assert sum(answer.verdict == "ranked" for answer in answers) <= 1
    assert all(location.coupled for answer in answers for location in answer.locations)


def test_a_heart_as_steady_as_a_clock_is_not_coupled_by_errors_of_rounding():
    found = {f"{rr_ms:g}": measure(beats_from([rr_ms] * 360, -2.0), DASH, RULES) for rr_ms in np.arange(600, 1_000, 7)}
    assert all(each.p_value > 0.99 and np.isfinite(each.ratio) for each in found.values())
    assert rank(found, RULES.ranking).verdict == "no-coupling"


def test_one_location_is_not_ranked_against_itself():
    answer = rank({"F3": measured(1, coupling_bpm=8.0)}, RULES.ranking)
    assert (answer.verdict, answer.best) == ("too-few-locations", None)
    assert rank({}, RULES.ranking).verdict == "too-few-locations"


def test_breathing_in_step_with_nothing_does_not_count():
    assert BREATH_HZ * DASH.period_s == 4, "a multiple of the cycle frequency: the worst case"
    found = [measured(seed, breath_bpm=8.0) for seed in range(24)]
    assert np.mean([each.p_value < 0.05 for each in found]) <= 0.18


@pytest.mark.parametrize(
    ("cycle", "heart", "reason"),
    [
        (DASH._replace(trains=7), {"coupling_bpm": 8.0}, "too-few-trains"),
        (DASH, {"ectopic_fraction": 0.2}, "too-much-artefact"),
    ],
)
def test_what_cannot_be_measured_is_said(cycle, heart, reason):
    found = measured(1, cycle, **heart)
    assert isinstance(found, NoResult)
    assert found.reason == reason
    assert found.beats > 0


def test_a_hole_in_the_recording_is_no_result():
    beats = synthetic_beats(HeartSetting(coupling_bpm=8.0), DASH, 1)
    hole = (beats.time_s > 60) & (beats.time_s < 75)
    for kept in (Beats(beats.time_s[~hole], beats.rr_ms[~hole]), Beats(np.empty(0), np.empty(0))):
        found = measure(kept, DASH, RULES)
        assert isinstance(found, NoResult)
        assert found.reason == "too-few-beats"


def test_artefacts_are_the_beats_that_were_made_so():
    clean = 900.0 + 30 * np.sin(np.arange(80) / 4)
    spoilt = clean.copy()
    spoilt[20], spoilt[21] = 540.0, 1260.0
    spoilt[40] = 1800.0
    spoilt[60], spoilt[61] = 250.0, 2400.0
    spoilt[0] = 500.0
    found = np.flatnonzero(find_artefacts(spoilt, RULES.artefacts))
    assert found.tolist() == [0, 20, 21, 40, 60, 61]
    assert not find_artefacts(clean, RULES.artefacts).any()


def test_a_heart_that_really_changes_its_rate_is_no_artefact():
    rr_ms = np.concatenate([np.full(30, 1000.0), np.linspace(1000, 650, 15), np.full(30, 650.0)])
    assert not find_artefacts(rr_ms, RULES.artefacts).any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 5_000), max_size=120), st.integers(1, 14))
def test_no_series_breaks_the_analysis(rr_ms, trains):
    beats = beats_from(rr_ms, -5.0)
    found = measure(beats, DASH._replace(trains=trains), RULES)
    if isinstance(found, Coupling):
        assert all(np.isfinite(getattr(found, name)) for name in ANALYSED)
    else:
        assert 0 <= found.artefacts <= found.beats <= len(rr_ms)


def test_trains_that_came_late_are_put_in_their_place():
    onset_s = np.array([0.0, 18.0, 34.0])
    beats = Beats(np.array([-1.0, 0.0, 9.0, 18.0, 26.0, 34.0, 50.0]), np.full(7, 900.0))
    assert in_cycle(beats, onset_s, 16.0).time_s.tolist() == [-1.0, 0.0, 8.0, 16.0, 24.0, 32.0, 48.0]


def test_every_number_of_the_analysis_has_a_source_and_says_that_it_is_not_verified():
    for part in (RULES.artefacts, RULES.spectrum, RULES.ranking, RULES.belt):
        assert part.source
        assert part.verified is False


@pytest.mark.parametrize("change", [{"farthest_bin": 8}, {"nearest_bin": 6}])
def test_frequencies_beside_the_cycles_that_there_are_not_are_refused(change):
    with pytest.raises(ValidationError, match="must ascend"):
        SpectrumRules.model_validate(RULES.spectrum.model_dump() | change)
