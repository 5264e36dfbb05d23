"""From a pattern to the onset of every pulse, in arrays of one element a pulse."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoel_stimulation.engine.pattern import Pattern

MAX_PERCENT_MSO = 100


@dataclass(frozen=True)
class TrainArrays:
    """The pulses of one train; all arrays have shape ``(pulses_per_train,)``.

    Attributes:
        onset_ns: nanoseconds since the first pulse of the session (of train 0), exact.
        burst: index of the burst within the train, from 0.
        percent_mso: set intensity in percent of maximum stimulator output.
        channel: stimulator channel; always 0 until a device with several is driven.
    """

    onset_ns: NDArray[np.int64]
    burst: NDArray[np.int32]
    percent_mso: NDArray[np.int16]
    channel: NDArray[np.int8]


@dataclass(frozen=True)
class PulseArrays:
    """The pulses of a session; all arrays have shape ``(pulses,)``, in order of onset.

    Attributes:
        onset_ns: nanoseconds since the session's first pulse, exact.
        train: index of the train, from 0.
        burst: index of the burst within its train, from 0.
        percent_mso: set intensity in percent of maximum stimulator output.
        channel: stimulator channel, 0.
    """

    onset_ns: NDArray[np.int64]
    train: NDArray[np.int32]
    burst: NDArray[np.int32]
    percent_mso: NDArray[np.int16]
    channel: NDArray[np.int8]


def _floored(percent_mso: float) -> int:
    """Return the intensity as a whole percent, rounded down: never more than was asked for.

    Raises:
        ValueError: outside 0 to 100.
    """
    if not 0 <= percent_mso <= MAX_PERCENT_MSO:
        raise ValueError(f"percent_mso is {percent_mso}; a stimulator has 0 to {MAX_PERCENT_MSO} %")
    return math.floor(percent_mso)


def _within_train_ns(pattern: Pattern) -> NDArray[np.int64]:
    """Onsets since the train's first pulse, shape ``(bursts_per_train, pulses_per_burst)``."""
    bursts = np.arange(pattern.bursts_per_train, dtype=np.int64) * pattern.burst_interval_ns
    pulses = np.arange(pattern.pulses_per_burst, dtype=np.int64) * pattern.pulse_interval_ns
    return bursts[:, None] + pulses


def expand_train(pattern: Pattern, train_index: int, percent_mso: float) -> TrainArrays:
    """Return the pulses of one train.

    Args:
        pattern: the session's pattern.
        train_index: which train, from 0.
        percent_mso: intensity in percent of maximum stimulator output; a fraction is rounded down.

    Raises:
        ValueError: no such train, or an intensity outside 0 to 100.
    """
    if not 0 <= train_index < pattern.trains:
        raise ValueError(f"train_index is {train_index}; the pattern has trains 0 to {pattern.trains - 1}")
    onset_ns = _within_train_ns(pattern).ravel() + train_index * pattern.train_interval_ns
    pulses = pattern.pulses_per_train
    return TrainArrays(
        onset_ns=onset_ns,
        burst=np.repeat(np.arange(pattern.bursts_per_train, dtype=np.int32), pattern.pulses_per_burst),
        percent_mso=np.full(pulses, _floored(percent_mso), dtype=np.int16),
        channel=np.zeros(pulses, dtype=np.int8),
    )


def expand_session(pattern: Pattern, percent_mso: float) -> PulseArrays:
    """Return the pulses of a whole session.

    Args:
        pattern: the session's pattern.
        percent_mso: intensity in percent of maximum stimulator output; a fraction is rounded down.

    Raises:
        ValueError: an intensity outside 0 to 100.
    """
    shape = (pattern.trains, pattern.bursts_per_train, pattern.pulses_per_burst)
    pulses = pattern.pulses
    onset_ns = np.empty(shape, dtype=np.int64)
    starts = np.arange(pattern.trains, dtype=np.int64) * pattern.train_interval_ns
    np.add(starts[:, None, None], _within_train_ns(pattern), out=onset_ns)
    train = np.empty(shape, dtype=np.int32)
    train[...] = np.arange(pattern.trains, dtype=np.int32)[:, None, None]
    burst = np.empty(shape, dtype=np.int32)
    burst[...] = np.arange(pattern.bursts_per_train, dtype=np.int32)[:, None]
    return PulseArrays(
        onset_ns=onset_ns.reshape(pulses),
        train=train.reshape(pulses),
        burst=burst.reshape(pulses),
        percent_mso=np.full(pulses, _floored(percent_mso), dtype=np.int16),
        channel=np.zeros(pulses, dtype=np.int8),
    )
