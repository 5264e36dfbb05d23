"""Bounded autonomy: how long a stimulator may run on its own after one start command (invariant INV-11)."""

from spoel_stimulation.engine.pattern import NS_PER_S, Pattern, seconds_to_ns

SLOW_INTERVAL_S = 1.0
MAX_AUTONOMOUS_S = 10.0
SLOW_BLOCK_PULSES = 10


class AutonomyExceeded(ValueError):
    """A train of this pattern would let the device run alone for longer than allowed, and cannot be split."""


def split_for_autonomy(
    pattern: Pattern, max_autonomous_s: float = MAX_AUTONOMOUS_S, slow_block_pulses: int = SLOW_BLOCK_PULSES
) -> Pattern:
    """Return the pattern as it is handed to the device: the same pulses, in trains that the host starts one by one.

    Trains of 1 Hz or slower become blocks of equal size, of at most ``slow_block_pulses`` pulses and at most
    ``max_autonomous_s``: each block is one train of the device, the next begins one burst interval after the last
    pulse, so that no onset moves. Faster trains stay as they are.

    Args:
        pattern: as prescribed.
        max_autonomous_s: longest time from first to last pulse of one device train.
        slow_block_pulses: most pulses of one block at 1 Hz or slower.

    Raises:
        AutonomyExceeded: a faster train is longer than ``max_autonomous_s``; or slow trains with a pause between them
            do not form one even row of blocks; or one burst alone is beyond a limit.
    """
    if pattern.burst_interval_s < SLOW_INTERVAL_S:
        _refuse_if_too_long(pattern, max_autonomous_s)
        return pattern
    longest = _longest_block(pattern, max_autonomous_s, slow_block_pulses)
    if pattern.bursts_per_train <= longest:
        return pattern
    if pattern.trains > 1 and pattern.train_interval_ns != pattern.slot_ns:
        raise AutonomyExceeded(
            f"{pattern.trains} slow trains with a pause between them cannot be split into blocks of equal interval; "
            "prescribe them as one train, or with train_interval_s = bursts_per_train * burst_interval_s"
        )
    block = max(size for size in range(1, longest + 1) if pattern.bursts_per_train % size == 0)
    blocks = pattern.bursts_per_train // block
    return Pattern(
        pulses_per_burst=pattern.pulses_per_burst,
        pulse_interval_s=pattern.pulse_interval_s,
        bursts_per_train=block,
        burst_interval_s=pattern.burst_interval_s,
        trains=pattern.trains * blocks,
        train_interval_s=block * pattern.burst_interval_ns / NS_PER_S,
    )


def _refuse_if_too_long(pattern: Pattern, max_autonomous_s: float) -> None:
    if pattern.train_duration_ns > seconds_to_ns(max_autonomous_s):
        raise AutonomyExceeded(
            f"a train of {pattern.train_duration_s} s is longer than the {max_autonomous_s} s for which a device may "
            "run on its own; shorter trains are needed, or a device that disarms when its host is lost"
        )


def _longest_block(pattern: Pattern, max_autonomous_s: float, slow_block_pulses: int) -> int:
    """Return the most bursts that one block may have."""
    time_left_ns = seconds_to_ns(max_autonomous_s) - pattern.burst_duration_ns
    by_time = 1 + time_left_ns // pattern.burst_interval_ns if time_left_ns >= 0 else 0
    longest = min(slow_block_pulses // pattern.pulses_per_burst, by_time)
    if longest < 1:
        raise AutonomyExceeded(
            f"one burst of {pattern.pulses_per_burst} pulses is beyond {slow_block_pulses} pulses or "
            f"{max_autonomous_s} s"
        )
    return longest
