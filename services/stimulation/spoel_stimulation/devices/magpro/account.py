"""Which of a MagPro's pulses are accounted for, by its own counter (``devices.watch.Evidence``)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from spoel_stimulation.devices.adapter import Counters
from spoel_stimulation.devices.magpro.outcome import pulses_between

QUIET_S = 0.2
QUIET_TIMEOUT_S = 2.0


class Account:
    """The last reading of the counters up to which all pulses are accounted for.

    Args:
        ask: asks the counters; None where they are not answered.
        last_stimulus_s: wall ``time.monotonic()`` of the last stimulus heard of; None before the first.

    Attributes:
        counters: that reading; None if there is none.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[Counters | None]], last_stimulus_s: Callable[[], float | None]
    ) -> None:
        self.counters: Counters | None = None
        self._ask = ask
        self._last_stimulus_s = last_stimulus_s

    def begin(self, reading: Counters) -> None:
        """Take a reading as accounted for, if there is none."""
        if self.counters is None:
            self.counters = reading

    def pulses_since(self, reading: Counters) -> int:
        """Return the pulses counted since the last accounted reading; 0 if there is none."""
        return 0 if self.counters is None else pulses_between(self.counters, reading)

    async def quiet(self) -> None:
        """Wait until no stimulus was heard of for a while, or not much longer."""
        give_up_at = time.monotonic() + QUIET_TIMEOUT_S
        while time.monotonic() < give_up_at:
            since_s = time.monotonic() - (self._last_stimulus_s() or 0.0)
            if since_s >= QUIET_S:
                return
            await asyncio.sleep(QUIET_S - since_s)

    async def reading(self) -> Counters | None:
        """Ask the counters."""
        return await self._ask()

    def pulses(self, noticed: Sequence[int], reading: Counters | None) -> int:
        """Return the pulses that were noticed, or more where the counter says so; they are accounted for then."""
        pulses = sum(noticed)
        if pulses and reading is not None:
            pulses = max(pulses, self.pulses_since(reading))
            self.counters = reading
        return pulses
