"""How a train ended, from the device's counters and the frames heard. Pure."""

from dataclasses import dataclass

from spoel_stimulation.devices.adapter import Counters, Realised, TrainResult, TrainSettings
from spoel_stimulation.devices.magpro.reports import counter_step
from spoel_stimulation.devices.magpro.view import Heard


@dataclass(frozen=True)
class Ending:
    """How following a train came to an end.

    Attributes:
        problem: empty where the device said that the train ended.
        stopped: afterwards the device was read back as disabled, or as running no train.
    """

    problem: str = ""
    stopped: bool = False


def pulses_between(before: Counters, after: Counters) -> int:
    """Return the pulses that the device counted between two readings."""
    return counter_step("pulses", before.pulses, after.pulses)


def train_result(
    settings: TrainSettings, before: Counters, after: Counters | None, heard: Heard, ending: Ending
) -> TrainResult:
    """Return the outcome of one start command.

    Known is what the device's pulse counter says, where the frames heard do not contradict it: a frame may get lost on
    the line, so fewer are no contradiction, but more are. A pair sends one frame or two: each stands for one pulse at
    least. Where begin or end was not heard, the device must first have been read back as stopped. Everything else is
    *unknown*. Should a device go on although it says that it has stopped, its later pulses are found by the counter, as
    nobody's.
    """
    if after is None:
        return _unknown(before, None, heard, ending.problem or "the counters could not be read afterwards")
    pulses = pulses_between(before, after)
    pair = settings.second_percent_mso is not None
    by_frames = heard.stimuli * (1 if pair else settings.pulses_per_burst)
    if by_frames > pulses:
        return _unknown(
            before, after, heard, f"{by_frames} pulses were heard of, but the device counted {pulses}. {ending.problem}"
        )
    if ending.problem and not ending.stopped:
        return _unknown(before, after, heard, ending.problem)
    early = "" if pulses >= settings.pulses or ending.problem or heard.unasked else "the device ended it early"
    reasons = [ending.problem, *heard.unasked, early]
    return TrainResult(
        outcome="complete" if pulses >= settings.pulses else "partial" if pulses else "none",
        pulses=pulses,
        counters_before=before,
        counters_after=after,
        evidence="frames-and-counter" if by_frames <= pulses <= by_frames * (1 + pair) else "counter",
        reason="; ".join(reason for reason in reasons if reason),
        first_onset_utc_ns=heard.first_onset_utc_ns,
        ended_utc_ns=heard.ended_utc_ns,
        realised=Realised.of(heard.didt_a_per_us),
    )


def _unknown(before: Counters, after: Counters | None, heard: Heard, reason: str) -> TrainResult:
    return TrainResult(
        outcome="unknown",
        pulses=None,
        counters_before=before,
        counters_after=after,
        evidence=None,
        reason=reason.strip(),
        first_onset_utc_ns=heard.first_onset_utc_ns,
        ended_utc_ns=heard.ended_utc_ns,
        realised=Realised.of(heard.didt_a_per_us),
    )
