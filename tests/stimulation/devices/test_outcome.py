import pytest

from spoel_stimulation.devices.adapter import Counters, TrainSettings
from spoel_stimulation.devices.magpro.outcome import Ending, train_result
from spoel_stimulation.devices.magpro.view import Heard

ITBS = TrainSettings(pulses_per_burst=3, pulse_interval_s=0.02, rate_hz=5.0, stimuli=10, percent_mso=55)
BEFORE = Counters(trains=4, pulses=0xFFFFF0, stimuli=20)


def after(pulses):
    return Counters(trains=5, pulses=(0xFFFFF0 + pulses) % 0x1000000, stimuli=20 + pulses // 3)


def heard(stimuli, *, ended=True):
    return Heard(stimuli=stimuli, running=stimuli > 0, first_onset_utc_ns=1, ended_utc_ns=2 if ended else None)


@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize(
    ("frames", "counted", "outcome", "pulses", "evidence"),
    [
        (10, 30, "complete", 30, "frames-and-counter"),
        (9, 30, "complete", 30, "counter"),
        (4, 12, "partial", 12, "frames-and-counter"),
        (3, 12, "partial", 12, "counter"),
        (0, 0, "none", 0, "frames-and-counter"),
        (10, 33, "complete", 33, "counter"),
    ],
)
def test_what_counter_and_frames_agree_on_is_known(frames, counted, outcome, pulses, evidence):
    result = train_result(ITBS, BEFORE, after(counted), heard(frames), Ending())
    assert (result.outcome, result.pulses, result.evidence) == (outcome, pulses, evidence)


@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize(
    ("counters", "train", "ending", "word"),
    [
        (None, heard(10), Ending(), "could not be read"),
        (after(0), heard(10), Ending(), "30 pulses were heard of, but the device counted 0"),
        (after(27), heard(10), Ending(), "counted 27"),
        (after(30), heard(10, ended=False), Ending("no end was heard", stopped=False), "no end"),
        (after(0), Heard(), Ending("nothing was heard of the start", stopped=False), "nothing was heard"),
        (None, Heard(), Ending("nothing was heard of the start", stopped=True), "nothing was heard"),
    ],
)
def test_contradiction_or_silence_is_unknown(counters, train, ending, word):
    result = train_result(ITBS, BEFORE, counters, train, ending)
    assert (result.outcome, result.pulses, result.evidence) == ("unknown", None, None)
    assert word in result.reason


def test_a_start_without_any_trace_on_a_stopped_device_is_none():
    result = train_result(ITBS, BEFORE, after(0), Heard(), Ending("nothing was heard of the start", stopped=True))
    assert (result.outcome, result.pulses) == ("none", 0)
    assert "nothing was heard" in result.reason


@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize(
    ("counted", "train", "outcome", "evidence"),
    [
        (30, heard(10, ended=False), "complete", "frames-and-counter"),
        (12, heard(3, ended=False), "partial", "counter"),
        (3, Heard(), "partial", "counter"),
    ],
)
def test_where_the_end_was_not_heard_the_counter_of_a_stopped_device_tells(counted, train, outcome, evidence):
    result = train_result(ITBS, BEFORE, after(counted), train, Ending("no end was heard", stopped=True))
    assert (result.outcome, result.pulses, result.evidence) == (outcome, counted, evidence)
    assert "no end was heard" in result.reason
