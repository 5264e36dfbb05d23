"""What a Magstim may be asked for: energy, pauses, rates, ranges, and what it cannot do."""

import pytest

from spoel_stimulation.devices.adapter import NotSupported, TrainSettings
from spoel_stimulation.devices.magstim.capability import (
    RAPID_UNITS,
    highest_continuous_hz,
    joules_of,
    longest_on_s,
    pair_interval,
    rapid_capability,
    single_capability,
)
from spoel_stimulation.devices.magstim.codec import Version
from spoel_stimulation.devices.record import Capability

RAPID = rapid_capability("rapid", 240, Version(11))
PLUS = rapid_capability("super-plus", 240, Version(11))
OLD = rapid_capability("rapid", 240, Version(7))
SINGLE = single_capability("Magstim 200²")
BISTIM = single_capability("Magstim BiStim²")


def train(**changed):
    return TrainSettings(**({"rate_hz": 10.0, "stimuli": 40, "percent_mso": 60} | changed))


def mono(**changed):
    return train(**({"waveform": "monophasic", "rate_hz": 0.2, "stimuli": 1} | changed))


@pytest.mark.parametrize(("percent", "joules"), [(30, 22.7), (50, 63.0), (80, 161.2), (100, 252.0)])
def test_the_energy_of_a_pulse(percent, joules):
    assert joules_of(percent) == pytest.approx(joules, abs=0.21)


@pytest.mark.parametrize(
    ("percent", "on_s", "wait_s", "continuous_hz"),
    [(100, 25.0, 5.60, 4.17), (80, 39.1, 2.14, 6.51), (50, 100.0, 0.50, 16.67)],
)
def test_longest_train_shortest_pause_and_continuous_rate(percent, on_s, wait_s, continuous_hz):
    assert longest_on_s(percent, 10.0) == pytest.approx(on_s, abs=0.05)
    assert PLUS.minimum_wait_s(train(percent_mso=percent)) == pytest.approx(wait_s, abs=0.005)
    assert highest_continuous_hz(percent) == pytest.approx(continuous_hz, abs=0.005)


def test_a_single_pulse_of_a_rapid_waits_a_second():
    assert RAPID.minimum_wait_s(train(stimuli=1)) == 1.0


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("unit", "mains_v", "rates"),
    [
        ("rapid", 240, {30: 50, 31: 30, 50: 30, 51: 18, 80: 18, 81: 15, 100: 15}),
        ("super", 240, {30: 100, 50: 50, 80: 30, 100: 25}),
        ("super-plus", 240, {30: 100, 50: 97, 80: 57, 100: 41}),
        ("rapid", 115, {30: 36, 50: 23, 80: 14, 100: 11}),
        ("super", 115, {30: 60, 50: 44, 80: 27, 100: 22}),
        ("super-plus", 115, {30: 60, 50: 58, 80: 34, 100: 25}),
    ],
)
def test_the_highest_rate_is_that_of_the_next_higher_anchor(unit, mains_v, rates):
    record = rapid_capability(unit, mains_v, Version(11)).record
    assert {percent: record.max_rate_hz(percent) for percent in rates} == rates


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("capability", "settings", "word"),
    [
        (RAPID, train(pulses_per_burst=3, pulse_interval_s=0.02, rate_hz=5.0, stimuli=10), "external triggers"),
        (RAPID, train(percent_mso=101), "percent_mso is 101"),
        (RAPID, train(waveform="monophasic"), "waveform monophasic"),
        (RAPID, train(current_direction="reverse"), "turn the coil"),
        (RAPID, train(rate_hz=20.0), "at 60 % it is 0.1 to 18"),
        (RAPID, train(rate_hz=10.05), "steps of 0.1"),
        (PLUS, train(rate_hz=30.5, stimuli=61, percent_mso=30), "whole numbers"),
        (RAPID, train(stimuli=110), "longer than the 10 s"),
        (RAPID, train(rate_hz=15.0, stimuli=40), "steps of 0.1 s"),
        (RAPID, train(stimuli=6001), "1 to 6000"),
        (OLD, train(stimuli=1001), "1 to 1000"),
        (PLUS, train(percent_mso=100, rate_hz=40.0, stimuli=400), "J that one may take"),
        (SINGLE, mono(stimuli=2), "Prescribe trains of one, at least 3 s apart"),
        (SINGLE, mono(pulses_per_burst=2, pulse_interval_s=0.002), "single pulses"),
        (SINGLE, mono(waveform="biphasic"), "waveform biphasic"),
        (BISTIM, mono(pulses_per_burst=3, pulse_interval_s=0.002), "gives pairs"),
        (BISTIM, mono(pulses_per_burst=2, pulse_interval_s=0.00255), "tenths"),
        (BISTIM, mono(pulses_per_burst=2, pulse_interval_s=1.0), "whole ms"),
        (BISTIM, mono(pulses_per_burst=2, pulse_interval_s=0.002, second_percent_mso=101), "second_percent_mso"),
    ],
)
def test_what_is_beyond_it_is_refused_and_why_is_said(capability: Capability, settings, word):
    with pytest.raises(NotSupported, match=word):
        capability.check(settings)


@pytest.mark.parametrize(
    ("capability", "settings"),
    [
        (RAPID, train(rate_hz=10.0, stimuli=40)),
        (RAPID, train(rate_hz=1.0, stimuli=10)),
        (RAPID, train(rate_hz=7.5, stimuli=30)),
        (RAPID, train(rate_hz=18.0, stimuli=18, percent_mso=80)),
        (PLUS, train(rate_hz=40.0, stimuli=80, percent_mso=60)),
        (RAPID, train(stimuli=1)),
        (SINGLE, mono()),
        (BISTIM, mono()),
        (BISTIM, mono(pulses_per_burst=2, pulse_interval_s=0.999, second_percent_mso=100)),
        (BISTIM, mono(pulses_per_burst=2, pulse_interval_s=0.0001)),
    ],
)
def test_what_it_can_do_is_taken(capability: Capability, settings):
    capability.check(settings)


@pytest.mark.parametrize("capability", [RAPID, SINGLE, BISTIM])
def test_an_intensity_is_checked_alone(capability: Capability):
    capability.check_percent_mso(100)
    with pytest.raises(NotSupported):
        capability.check_percent_mso(101)


@pytest.mark.parametrize(("percent", "wait_s"), [(49, 2.0), (50, 3.0), (79, 3.0), (80, 4.0), (100, 4.0)])
def test_a_200_waits_for_its_charge(percent, wait_s):
    assert SINGLE.minimum_wait_s(mono(percent_mso=percent)) == wait_s


def test_a_bistim_gives_one_pair_in_four_seconds():
    assert BISTIM.minimum_wait_s(mono()) == 4.0


@pytest.mark.parametrize(
    ("interval_s", "wire"), [(0.002, (2, False)), (0.999, (999, False)), (0.0025, (25, True)), (0.0001, (1, True))]
)
def test_intervals_of_pairs(interval_s, wire):
    assert pair_interval(interval_s, 999) == wire


@pytest.mark.requirement("ST-08")
def test_every_record_says_where_it_comes_from_and_that_nobody_tried_it():
    records = [rapid_capability(unit, v, Version(9)).record for unit in RAPID_UNITS for v in (240, 115)]
    for record in [*records, SINGLE.record, BISTIM.record]:
        assert record.source
        assert record.cannot
        assert (record.verified, record.has_counter, record.host_enforces_wait) == (False, False, True)
        assert (record.disarms_on_lost_contact.holds, record.disarms_on_lost_contact.verified) == (True, False)
    assert not records[0].stops_in_mid_train.verified


def test_a_unit_without_an_entry_is_refused():
    with pytest.raises(NotSupported, match="no entry"):
        rapid_capability("rapid", 400, Version(9))
    with pytest.raises(NotSupported, match="no entry"):
        single_capability("Magstim 300")
