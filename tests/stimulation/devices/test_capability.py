import pytest

from spoel_stimulation.devices.adapter import NotSupported, TrainSettings
from spoel_stimulation.devices.magpro.capability import capabilities, capability_of, coil_name, coils, warming
from spoel_stimulation.devices.magpro.staging import to_wire
from spoel_stimulation.devices.magpro.values import Mode, Model, Wave
from spoel_stimulation.engine import Pattern

TEN_HZ = TrainSettings(rate_hz=10.0, stimuli=40, percent_mso=55)
ITBS = TrainSettings(pulses_per_burst=3, pulse_interval_s=0.02, rate_hz=5.0, stimuli=10, percent_mso=55)


@pytest.mark.parametrize(
    "settings",
    [
        TEN_HZ,
        ITBS,
        TEN_HZ.model_copy(update={"rate_hz": 1.0, "stimuli": 10}),
        TEN_HZ.model_copy(update={"rate_hz": 0.1, "stimuli": 2}),
        TEN_HZ.model_copy(update={"rate_hz": 100.0, "stimuli": 1000}),
        TEN_HZ.model_copy(update={"waveform": "monophasic", "current_direction": "reverse"}),
        TEN_HZ.model_copy(update={"percent_mso": 0}),
        TEN_HZ.model_copy(update={"percent_mso": 100, "stimuli": 1}),
        TrainSettings.of_pattern(
            Pattern(bursts_per_train=36, burst_interval_s=1 / 18, trains=55, train_interval_s=22.0),
            60,
            "biphasic",
            "normal",
        ),
    ],
)
def test_what_the_device_can_do_is_accepted(settings):
    capability_of(Model.X100_OPTION).check(settings)


PAIRS = TrainSettings(
    rate_hz=5.0, stimuli=10, percent_mso=40, pulses_per_burst=2, pulse_interval_s=0.003, second_percent_mso=60
)


@pytest.mark.parametrize("model", [Model.X100_OPTION, Model.R30_OPTION])
def test_pairs_of_two_intensities_need_the_option(model):
    capability_of(model).check(PAIRS)
    wire = to_wire(PAIRS, model)
    assert (wire.wave.mode, wire.amplitude.a, wire.amplitude.b) == (Mode.DUAL, 40, 60)
    assert wire.set_point()["second_percent_mso"] == 60


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("model", "change", "word"),
    [
        (Model.X100, {}, "no pairs"),
        (Model.R30_OPTION, {"rate_hz": 6.0}, "rate_hz is 6"),
        (Model.X100_OPTION, {"rate_hz": 21.0}, "rate_hz is 21"),
        (Model.X100_OPTION, {"second_percent_mso": 101}, "second_percent_mso is 101"),
        (Model.X100_OPTION, {"pulse_interval_s": 0.0005}, "nearest is 1.0 ms"),
        (Model.X100_OPTION, {"pulse_interval_s": 0.3}, "longer than the interval"),
    ],
)
def test_one_step_beyond_its_pairs_is_refused(model, change, word):
    with pytest.raises(NotSupported, match=word):
        capability_of(model).check(PAIRS.model_copy(update=change))


def test_a_second_intensity_belongs_to_a_pair():
    with pytest.raises(ValueError, match="pairs only"):
        TrainSettings(rate_hz=5.0, stimuli=10, percent_mso=40, second_percent_mso=60)


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("base", "change", "word"),
    [
        (TEN_HZ, {"percent_mso": 101}, "percent_mso is 101"),
        (TEN_HZ, {"percent_mso": -1}, "percent_mso is -1"),
        (TEN_HZ, {"rate_hz": 101.0}, "rate_hz is 101"),
        (TEN_HZ, {"rate_hz": 10.5}, "rate_hz is 10.5"),
        (TEN_HZ, {"rate_hz": 0.05, "stimuli": 1}, "rate_hz is 0.05"),
        (TEN_HZ, {"rate_hz": 17.9856}, "rate_hz is 17.9856"),
        (TEN_HZ, {"stimuli": 0}, "stimuli is 0"),
        (TEN_HZ, {"rate_hz": 100.0, "stimuli": 1001}, "stimuli is 1001"),
        (TEN_HZ, {"rate_hz": 100.0, "stimuli": 2100}, "stimuli is 2100"),
        (TEN_HZ, {"stimuli": 102}, "longer than the 10 s"),
        (TEN_HZ, {"rate_hz": 1.0, "stimuli": 12}, "longer than the 10 s"),
        (ITBS, {"stimuli": 200}, "longer than the 10 s"),
        (ITBS, {"pulses_per_burst": 6}, "pulses_per_burst is 6"),
        (ITBS, {"rate_hz": 21.0, "pulse_interval_s": 0.005}, "rate_hz is 21"),
        (ITBS, {"waveform": "monophasic"}, "bursts are biphasic"),
        (ITBS, {"pulse_interval_s": 0.0004}, "at least 0.5 ms"),
        (ITBS, {"pulse_interval_s": 0.0123}, "nearest is 12.5 ms"),
        (ITBS, {"pulse_interval_s": 0.02001}, "whole tenths"),
        (ITBS, {"pulse_interval_s": 0.1}, "longer than the interval between bursts"),
    ],
)
def test_one_step_beyond_the_device_is_refused(base, change, word):
    with pytest.raises(NotSupported, match=word):
        capability_of(Model.X100_OPTION).check(base.model_copy(update=change))


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("model", "settings", "word"),
    [
        (Model.X100, ITBS, "no bursts"),
        (Model.X100, TEN_HZ.model_copy(update={"waveform": "halfsine"}), "waveform halfsine"),
        (Model.R30, TEN_HZ.model_copy(update={"rate_hz": 31.0}), "rate_hz is 31"),
        (Model.R30, TEN_HZ.model_copy(update={"waveform": "monophasic"}), "waveform monophasic"),
        (Model.R30_OPTION, TEN_HZ.model_copy(update={"current_direction": "reverse"}), "current_direction reverse"),
    ],
)
def test_what_another_model_can_do_is_refused_on_this_one(model, settings, word):
    with pytest.raises(NotSupported, match=word):
        capability_of(model).check(settings)


@pytest.mark.invariant("INV-2")
def test_a_model_without_a_record_may_not_be_driven():
    with pytest.raises(NotSupported, match="MST"):
        capability_of(Model.MST)


def test_every_record_names_its_source_and_none_claims_to_be_verified():
    records = [capability.record for capability in capabilities().values()]
    claims = [claim for record in records for claim in (record.disarms_on_lost_contact, record.stops_in_mid_train)]
    assert len(records) == 4
    assert all(told.source and not told.verified for told in (*records, *claims, coils(), warming()))


def test_the_device_keeps_its_own_pauses():
    capability = capability_of(Model.X100_OPTION)
    assert capability.minimum_wait_s(TEN_HZ) == 0
    assert not capability.record.host_enforces_wait
    assert capability.record.max_rate_hz(55) == 100


def test_coils_have_names():
    assert [coil_name(number) for number in (0, 60, 72, 99)] == ["none", "Cool-B65", "C-B60", "coil-99"]


@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize("settings", [TEN_HZ, ITBS])
def test_on_the_wire_there_is_always_one_train(settings):
    wire = to_wire(settings, Model.X100_OPTION)
    assert wire.timing.trains == 1
    assert wire.timing.control == 0
    assert wire.wave.wave is (Wave.BIPHASIC if settings is TEN_HZ else Wave.BIPHASIC_BURST)
    assert wire.set_point()["trains"] == 1


def test_a_pulse_interval_is_given_exactly_for_bursts():
    with pytest.raises(ValueError, match="pulse_interval_s"):
        TrainSettings(pulses_per_burst=3, rate_hz=5.0, stimuli=10, percent_mso=50)
