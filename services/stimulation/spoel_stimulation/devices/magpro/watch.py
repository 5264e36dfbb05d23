"""What happened at the device and nobody here asked for: gathered, answered with a disarm, and told."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from spoel_stimulation.devices.adapter import Counters, Unasked
from spoel_stimulation.devices.magpro.outcome import pulses_between

QUIET_S = 0.2
QUIET_TIMEOUT_S = 2.0
_KINDS = ("pulse", "change", "link-lost")


class Device(Protocol):
    """What the watch needs of an adapter."""

    @property
    def last_stimulus_monotonic_s(self) -> float | None:
        """Wall time of the last stimulus heard of."""

    async def disarm(self) -> bool:
        """Disable; True if it was read back."""


class Watch:
    """Turns what was noticed into one ``Unasked`` a kind and outburst, after the device was disarmed.

    Attributes:
        active: nothing is taken notice of before a connection stands and its counters are known.
        counters: the last reading that all pulses up to it are accounted for; None if there is none.
    """

    def __init__(
        self, device: Device, read_counters: Callable[[], Awaitable[Counters | None]], told: asyncio.Queue[Unasked]
    ) -> None:
        self.active = False
        self.counters: Counters | None = None
        self._device = device
        self._read_counters = read_counters
        self._told = told
        self._noticed: list[Unasked] = []
        self._task: asyncio.Task[None] | None = None

    def notice(self, strange: Unasked) -> None:
        """Take notice; disarming begins with the next turn of the event loop."""
        if not self.active:
            return
        self._noticed.append(strange)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer(), name="magpro unasked")

    def begin(self, reading: Counters) -> None:
        """Take a reading as accounted for, if there is none."""
        if self.counters is None:
            self.counters = reading

    def pulses_since(self, reading: Counters) -> int:
        """Return the pulses counted since the last accounted reading; 0 if there is none."""
        return 0 if self.counters is None else pulses_between(self.counters, reading)

    async def stop(self) -> None:
        """Take notice no more; what is being dealt with is still told."""
        self.active = False
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.gather(self._task, return_exceptions=True)
        self.counters = None

    async def _answer(self) -> None:
        while self._noticed:
            disarmed = await self._device.disarm()
            await self._quiet()
            noticed, self._noticed = self._noticed, []
            reading = await self._read_counters()
            for kind in _KINDS:
                self._tell([item for item in noticed if item.kind == kind], reading, disarmed=disarmed)

    def _tell(self, noticed: list[Unasked], reading: Counters | None, *, disarmed: bool) -> None:
        if not noticed:
            return
        pulses = sum(item.pulses for item in noticed)
        if pulses and reading is not None:
            pulses = max(pulses, self.pulses_since(reading))
            self.counters = reading
        self._told.put_nowait(
            Unasked(
                kind=noticed[0].kind,
                detail="; ".join(dict.fromkeys(item.detail for item in noticed)),
                pulses=pulses,
                device_total_pulses=None if reading is None else reading.pulses,
                disarmed=disarmed,
            )
        )

    async def _quiet(self) -> None:
        """Wait until no stimulus was heard of for a while, or not much longer."""
        give_up_at = time.monotonic() + QUIET_TIMEOUT_S
        while time.monotonic() < give_up_at:
            since_s = time.monotonic() - (self._device.last_stimulus_monotonic_s or 0.0)
            if since_s >= QUIET_S:
                return
            await asyncio.sleep(QUIET_S - since_s)
