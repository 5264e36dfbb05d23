"""Single pulses timed by the host, where a host's jitter is harmless: one a second at most (DESIGN: INV-11).

A host is tens of milliseconds late now and then, whatever it is written in; so it never times pulses inside a burst or
a fast train. A pulse that comes late moves the later ones: an interval is never shortened to catch up.
"""

from collections.abc import AsyncIterator

from spoel_common.clock import NS_PER_S, Clock
from spoel_stimulation.devices.adapter import TrainSettings

MIN_INTERVAL_S = 1.0
_TOLERANCE = 1e-6


def pacing_problems(settings: TrainSettings, max_autonomous_s: float) -> list[str]:
    """Return in words why a host may not time a train; empty where it may."""
    if settings.stimuli > 1 and settings.rate_hz > 1 / MIN_INTERVAL_S + _TOLERANCE:
        too_fast = f"rate_hz is {settings.rate_hz:g}: this unit runs no trains, and the host times single stimuli only"
        return [f"{too_fast}, at most one in {MIN_INTERVAL_S:g} s; choose another stimulator for this protocol"]
    if settings.duration_s > max_autonomous_s + _TOLERANCE:
        return [f"a train of {settings.duration_s:g} s is longer than {max_autonomous_s:g} s; split it"]
    return []


async def paced(clock: Clock, settings: TrainSettings) -> AsyncIterator[int]:
    """Yield the number of each stimulus when it is due by the clock."""
    interval_ns = round(NS_PER_S / settings.rate_hz)
    due_ns = clock.monotonic_ns()
    for number in range(settings.stimuli):
        await clock.sleep_until(due_ns)
        due_ns = max(due_ns, clock.monotonic_ns()) + interval_ns
        yield number
