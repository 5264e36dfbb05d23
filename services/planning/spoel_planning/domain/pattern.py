"""What follows from a pattern: pulses, durations, rates.

A train is counted as lasting until the next pulse would have come (n pulses at f Hz last n/f): the longer of the
public conventions for a train and the shorter for a pause, so the stricter one for both.
"""

from spoel_planning.domain.refusals.prescribing import PatternImpossible
from spoel_planning.events.orders import Pattern

TIME_TOLERANCE_S = 1e-6
"""Differences below this are rounding of decimal seconds."""


def is_patterned(pattern: Pattern) -> bool:
    """Tell whether pulses come in bursts (theta burst, quadripulse)."""
    return pattern.pulses_per_burst > 1


def pulses_per_session(pattern: Pattern) -> int:
    """Return all pulses of a session."""
    return pattern.pulses_per_burst * pattern.bursts_per_train * pattern.trains


def rate_hz(pattern: Pattern) -> float:
    """Return the rate of bursts, or of single pulses."""
    return 1 / pattern.burst_interval_s


def highest_rate_hz(pattern: Pattern) -> float:
    """Return the rate of the closest pulses: 50 Hz for theta burst, not its mean of 15 Hz."""
    return 1 / (pattern.pulse_interval_s or pattern.burst_interval_s)


def train_s(pattern: Pattern) -> float:
    """Return how long a train lasts."""
    return pattern.bursts_per_train * pattern.burst_interval_s


def pause_s(pattern: Pattern) -> float | None:
    """Return the time from the end of a train to the start of the next; None for a single train."""
    return None if pattern.trains == 1 else pattern.train_interval_s - train_s(pattern)


def session_s(pattern: Pattern) -> float:
    """Return how long a session lasts, from the first pulse to the end of the last train."""
    return (pattern.trains - 1) * pattern.train_interval_s + train_s(pattern)


def check_possible(pattern: Pattern) -> None:
    """Refuse a pattern whose parts overlap.

    Raises:
        PatternImpossible: a burst without interval, an interval without burst, bursts or trains that overlap.
    """
    if is_patterned(pattern) != (pattern.pulse_interval_s is not None):
        raise PatternImpossible(
            "pulse_interval_s is for bursts of more than one pulse, and needed there. "
            f"Give it with pulses_per_burst {pattern.pulses_per_burst} or leave it out with 1.",
            field="pulse_interval_s",
        )
    burst_s = pattern.pulses_per_burst * (pattern.pulse_interval_s or 0.0)
    if burst_s > pattern.burst_interval_s + TIME_TOLERANCE_S:
        raise PatternImpossible(
            f"A burst lasts {burst_s:g} s and the next starts after {pattern.burst_interval_s:g} s. "
            "Lengthen burst_interval_s.",
            field="burst_interval_s",
        )
    if train_s(pattern) > pattern.train_interval_s + TIME_TOLERANCE_S:
        raise PatternImpossible(
            f"A train lasts {train_s(pattern):g} s and the next starts after {pattern.train_interval_s:g} s. "
            "Lengthen train_interval_s, which counts from start to start.",
            field="train_interval_s",
        )
