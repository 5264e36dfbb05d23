"""A trigger box without a stimulator: counts what it is told to trigger."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from spoel_common.clock import Clock
from spoel_stimulation.devices.manual.box import GREETING, TRIGGER, SingleBytes
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.log import SimulatorLog, last_total
from spoel_stimulation.devices.simulation.pace import Pace, pace_of

GREET_EVERY_S = 0.1


class TriggerBoxSimulator:
    """A box that takes one byte a trigger (see ``box``); its log counts triggers as pulses.

    Args:
        clock: for the times in its log.
        number: it greets as ``SIM-<number>``.
        log_path: its record; the count goes on from the last total in it.
        faults: its switchboard: ``refuse`` (it triggers nothing) and ``panel-fire`` (one more than asked for); it has
            no coil, no settings and nothing to disable.
        pace: how long it takes over a byte; its own times, shortened by the clock's speed, if left out.
    """

    speak: Callable[[bytes], None]

    def __init__(
        self,
        clock: Clock,
        *,
        number: int = 1,
        log_path: Path | None = None,
        faults: Faults | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.speak = lambda _frame: None
        self.faults = faults or Faults()
        self.faults.begun = self._fault_begun
        self.pace = pace or pace_of("trigger-box").at(clock.speed)
        self.serial = f"SIM-{number}"
        self.total_pulses = last_total(log_path)
        self._clock = clock
        self._number = number
        self._log = SimulatorLog(log_path)
        self._greeting: asyncio.Task[None] | None = None

    def framer(self) -> SingleBytes:
        """Return what cuts the host's bytes; from now on the box says who it is."""
        if self._greeting is None:
            self._greeting = asyncio.create_task(self._greet(), name="trigger-box greeting")
        return SingleBytes()

    def hear(self, frame: bytes) -> None:
        """Write down one byte."""
        self._log.frame(self._clock.utc_ns(), "in", frame.hex())
        self._log.flush()

    def take(self, frame: bytes) -> None:
        """Obey one byte; others than the trigger are ignored."""
        if frame == TRIGGER and Fault.REFUSE not in self.faults:
            self._trigger()
        self._log.flush()

    def close(self) -> None:
        """Switch off."""
        if self._greeting is not None:
            self._greeting.cancel()
        self._log.close()

    def _trigger(self) -> None:
        self.total_pulses += 1
        self._log.pulses(self._clock.utc_ns(), self.total_pulses)
        self.faults.armed()

    async def _greet(self) -> None:
        while True:
            self.speak(GREETING + str(self._number).encode() + b"\n")
            await asyncio.sleep(GREET_EVERY_S)

    def _fault_begun(self, fault: Fault) -> None:
        if fault is Fault.PANEL_FIRE:
            self._trigger()
            self._log.flush()
