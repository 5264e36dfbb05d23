"""The three ways in which public protocols count time, and reading a printed protocol into onset-to-onset intervals.

A printed protocol gives trains, a rate and an "inter-train interval", or a duration. What is meant differs, and all
three conventions are in use: 75 trains of 40 pulses at 10 Hz with a pause of 11 s last 18:45, 18:34 or 18:26.5; the
page of a maker's protocol prints 18:26 (brainultimate.com/protocols). What is stored is always the interval from
onset to onset (``Pattern``), in which none of this matters any more.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from spoel_stimulation.engine.pattern import NS_PER_S, Pattern, seconds_to_ns


class Convention(StrEnum):
    """What a text means by its pause and by its duration.

    Attributes:
        WITH_LAST_PAUSE: (a) ``trains * (n/f + pause)``: a train lasts a slot for every pulse; the last pause counts.
        SLOTS: (b) ``trains * n/f + (trains - 1) * pause``: the same without the pause after the last train.
        PULSE_TO_PULSE: (c) ``trains * (n - 1)/f + (trains - 1) * pause``: from first to last pulse, and the pause from
            the last pulse of a train to the first of the next, as MagVenture's stimulators count (the comment at
            ``setTrain`` of the MAGIC toolbox).
    """

    WITH_LAST_PAUSE = "with-last-pause"
    SLOTS = "slots"
    PULSE_TO_PULSE = "pulse-to-pulse"


class Train(NamedTuple):
    """One train as a text prints it.

    Attributes:
        rate_hz: bursts, or single pulses, a second.
        stimuli: bursts, or single pulses, in the train.
        pulses_per_burst: 1 for single pulses.
        pulse_interval_s: onset to onset within a burst; None for single pulses.
    """

    rate_hz: float
    stimuli: int
    pulses_per_burst: int = 1
    pulse_interval_s: float | None = None


def duration_s(pattern: Pattern, convention: Convention, pause_s: float | None = None) -> float:
    """Return how long the session lasts by a convention.

    Args:
        pattern: the trains; its own train interval is used only where ``pause_s`` is left out.
        convention: how it is counted.
        pause_s: the printed pause; by default the one that gives the pattern's own train interval.
    """
    length_ns = _train_ns(pattern, convention)
    period_ns = pattern.train_interval_ns if pause_s is None else length_ns + seconds_to_ns(pause_s)
    last_ns = period_ns if convention is Convention.WITH_LAST_PAUSE else length_ns
    return ((pattern.trains - 1) * period_ns + last_ns) / NS_PER_S


def pause_s(pattern: Pattern, convention: Convention) -> float | None:
    """Return the pause between trains as a text of this convention prints it; None for a single train."""
    if pattern.trains == 1:
        return None
    return (pattern.train_interval_ns - _train_ns(pattern, convention)) / NS_PER_S


def read_pause(train: Train, trains: int, pause_s: float, convention: Convention) -> Pattern:
    """Return the pattern of a text that prints trains and the pause between them.

    Args:
        train: one of the trains.
        trains: how many.
        pause_s: the printed inter-train interval.
        convention: what the text means by it; (a) and (b) mean the same pause.

    Raises:
        pydantic.ValidationError: not a possible pattern, for example trains that touch.
    """
    return _read(train, trains, lambda length_ns: length_ns + seconds_to_ns(pause_s), convention)


def read_duration(train: Train, trains: int, duration_s: float, convention: Convention) -> Pattern:
    """Return the pattern of a text that prints trains and how long all of them last.

    Args:
        train: one of the trains.
        trains: how many.
        duration_s: the printed duration of the session.
        convention: how the text counts it.

    Raises:
        pydantic.ValidationError: not a possible pattern, for example a duration too short for its trains.
    """

    def interval_ns(length_ns: int) -> int:
        if convention is Convention.WITH_LAST_PAUSE:
            return round(seconds_to_ns(duration_s) / trains)
        return round((seconds_to_ns(duration_s) - length_ns) / (trains - 1))

    return _read(train, trains, interval_ns, convention)


def _read(train: Train, trains: int, interval_ns: Callable[[int], int], convention: Convention) -> Pattern:
    single = Pattern(
        pulses_per_burst=train.pulses_per_burst,
        pulse_interval_s=train.pulse_interval_s,
        bursts_per_train=train.stimuli,
        burst_interval_s=1 / train.rate_hz,
        trains=1,
        train_interval_s=train.stimuli / train.rate_hz,
    )
    if trains == 1:
        return single
    described = single.model_dump() | {
        "trains": trains,
        "train_interval_s": interval_ns(_train_ns(single, convention)) / NS_PER_S,
    }
    return Pattern.model_validate(described)


def _train_ns(pattern: Pattern, convention: Convention) -> int:
    return pattern.train_duration_ns if convention is Convention.PULSE_TO_PULSE else pattern.slot_ns
