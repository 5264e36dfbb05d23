"""Many simulators in one process: prints their addresses, and at its end what they gave and how they were fed."""

import asyncio
import json
import signal
import sys
import time
from contextlib import AsyncExitStack

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.simulation.ports import ANSWER_DELAY_S, on_tcp


class Watched:
    """Notes when frames came, and the longest time, while a device was armed, in which its host said nothing.

    Attributes:
        taken_ns: ``time.monotonic_ns()`` and body of each frame, where that is asked for.
    """

    def __init__(self, simulator: MagProSimulator, *, note_all: bool) -> None:
        self.longest_gap_s = 0.0
        self.taken_ns: list[tuple[int, str]] | None = [] if note_all else None
        self._simulator = simulator
        self._heard_s: float | None = None
        self._take = simulator.take
        simulator.take = self.take  # type: ignore[method-assign]

    def take(self, frame: bytes) -> None:
        """Take a frame from the host."""
        now_s = time.monotonic()
        if self.taken_ns is not None:
            self.taken_ns.append((time.monotonic_ns(), frame.hex()))
        if self._simulator.enabled and self._heard_s is not None:
            self.longest_gap_s = max(self.longest_gap_s, now_s - self._heard_s)
        self._take(frame)
        self._heard_s = now_s if self._simulator.enabled else None


async def main(count: int, speed: float) -> None:
    """Run until SIGTERM; a single simulator answers at once, and notes every frame."""
    clock = ScaledClock.starting_now(1.0) if speed == 1 else ScaledClock.model_validate_json(sys.argv[3])
    single = count == 1
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        addresses, watched, simulators = [], [], []
        for number in range(1, count + 1):
            simulator = MagProSimulator(clock, number=number)
            simulators.append(simulator)
            watched.append(Watched(simulator, note_all=single))
            delay_s = 0.0 if single else ANSWER_DELAY_S
            addresses.append(await stack.enter_async_context(on_tcp(simulator, answer_delay_s=delay_s)))
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        await stop.wait()
        pulses = [simulator.total_pulses for simulator in simulators]
        gaps_s = [each.longest_gap_s for each in watched]
        told = {"pulses": pulses, "gaps_s": gaps_s, "taken_ns": watched[0].taken_ns}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
