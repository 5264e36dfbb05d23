"""Many simulators in one process: prints their addresses, and at its end what they gave and how they were fed."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.guarding import Framer
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.simulation.pace import PROMPT
from spoel_stimulation.devices.simulation.ports import on_tcp


class Watched:
    """A simulator of which is noted when frames came, and how long, while armed, its host said nothing.

    Attributes:
        longest_gap_s: the longest of those times.
        taken_ns: ``time.monotonic_ns()`` and body of each frame, where that is asked for.
    """

    def __init__(self, simulator: MagProSimulator, *, note_all: bool) -> None:
        self.longest_gap_s = 0.0
        self.taken_ns: list[tuple[int, str]] | None = [] if note_all else None
        self.faults, self.pace = simulator.faults, simulator.pace
        self._simulator = simulator
        self._heard_s: float | None = None

    @property
    def speak(self) -> Callable[[bytes], None]:
        """How the simulator speaks to its host."""
        return self._simulator.speak

    @speak.setter
    def speak(self, speak: Callable[[bytes], None]) -> None:
        self._simulator.speak = speak

    @property
    def serial(self) -> str:
        """That of the simulator."""
        return self._simulator.serial

    @property
    def total_pulses(self) -> int:
        """That of the simulator."""
        return self._simulator.total_pulses

    def framer(self) -> Framer:
        """Return the simulator's."""
        return self._simulator.framer()

    def hear(self, frame: bytes) -> None:
        """Note a frame from the host, and hand it on."""
        now_s = time.monotonic()
        if self.taken_ns is not None:
            self.taken_ns.append((time.monotonic_ns(), frame.hex()))
        if self._simulator.enabled and self._heard_s is not None:
            self.longest_gap_s = max(self.longest_gap_s, now_s - self._heard_s)
        self._heard_s = now_s if self._simulator.enabled else None
        self._simulator.hear(frame)

    def take(self, frame: bytes) -> None:
        """Hand a frame on to be obeyed."""
        self._simulator.take(frame)

    def close(self) -> None:
        """Switch it off."""
        self._simulator.close()


async def main(count: int, speed: float) -> None:
    """Run until SIGTERM; a single simulator answers at once and notes every frame, many answer at the device's pace."""
    clock = ScaledClock.starting_now(1.0) if speed == 1 else ScaledClock.model_validate_json(sys.argv[3])
    single = count == 1
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        addresses, watched = [], []
        for number in range(1, count + 1):
            simulator = MagProSimulator(clock, number=number, pace=PROMPT if single else None)
            watched.append(Watched(simulator, note_all=single))
            addresses.append(await stack.enter_async_context(on_tcp(watched[-1])))
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        await stop.wait()
        pulses = [each.total_pulses for each in watched]
        gaps_s = [each.longest_gap_s for each in watched]
        told = {"pulses": pulses, "gaps_s": gaps_s, "taken_ns": watched[0].taken_ns}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
