"""From a command's durable write to its first byte at the device, the room idle.

The command is a stimulus of a measurement: what it authorises is durable before anything leaves the host (INV-1). The
clock starts when that write has returned, and stops when the simulator, another process, has the first frame that the
command caused (the settings are read back once more), and then the one that fires. Both processes read the same
monotonic clock.
"""

import asyncio
import bisect
import sys
import tempfile
import time
from pathlib import Path

from spoel_common.clock import ScaledClock, sleep_s, utc_now
from spoel_local.bench import Result

from .stage import other_process

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.stimulation import clinic as clinics
from tests.stimulation.story import measurement_order

from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.domain.state import SessionState

SAMPLES = 200
P50_MS, P99_MS = 3.0, 20.0
SPEED = 60.0
FIRE_TRAIN = "04"
IDLE_S = 0.05


def run() -> list[Result]:
    """Measure the first byte against its targets, and show the firing frame beside it."""
    return asyncio.run(_measure())


async def _measure() -> list[Result]:
    clock = ScaledClock.starting_now(SPEED)
    with tempfile.TemporaryDirectory(prefix="spoel-bench-") as folder:
        async with other_process(1, clock) as (addresses, ended):
            clinic = clinics.Clinic(Path(folder), clock, {"room-1": addresses[0]})
            async with clinic.opened():
                durable_ns = await _stimuli(clinic)
            taken = (await ended())["taken_ns"]
    moments = [moment for moment, _ in taken]
    fired = [moment for moment, body in taken if body == FIRE_TRAIN]
    first = [_after(moment, moments) for moment in durable_ns]
    pulse = [_after(moment, fired) for moment in durable_ns]
    return [
        _result("durable write to the first byte at the device, p50", first, 50, P50_MS),
        _result("durable write to the first byte at the device, p99", first, 99, P99_MS),
        _result("durable write to the frame that fires, all settings read back once more, p50", pulse, 50, None),
    ]


async def _stimuli(clinic: clinics.Clinic) -> list[int]:
    """Ask for stimuli; return when the write of each was durable, ``time.monotonic_ns()``."""
    order = measurement_order(max_stimuli=SAMPLES + 1, valid_on=local_day(utc_now(clinic.clock)))
    session_id = await clinic.started(await clinic.prepare(order, kind="measurement"))
    durable_ns: list[int] = []
    fire = clinic.room.fire

    def noted(state: SessionState) -> "asyncio.Task[None]":
        durable_ns.append(time.monotonic_ns())
        return fire(state)

    clinic.room.fire = noted
    for _ in range(SAMPLES):
        (await clinic.ask(session_id, "stimuli", percent_mso=40)).raise_for_status()
        await sleep_s(clinic.clock, order.min_interval_s)
        await asyncio.sleep(IDLE_S)
    return durable_ns


def _after(moment_ns: int, moments_ns: list[int]) -> float:
    """Return the milliseconds from a moment to the first of others that follows it."""
    return (moments_ns[bisect.bisect_left(moments_ns, moment_ns)] - moment_ns) / 1e6


def _result(what: str, values: list[float], percentile: int, target: float | None) -> Result:
    ordered = sorted(values)
    value = ordered[round((len(ordered) - 1) * percentile / 100)]
    return Result(
        what=what,
        value=value,
        unit="ms",
        target=target,
        met=None if target is None else value <= target,
        spread=(ordered[0], ordered[-1]),
        at_most=target is not None,
    )
