"""What happened at the device and nobody here asked for: gathered, answered with a disarm, and told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from spoel_stimulation.devices.adapter import Counters, Unasked

_KINDS = ("pulse", "change", "link-lost")


class Evidence(Protocol):
    """What a maker's device lets know of pulses that nobody asked for."""

    async def quiet(self) -> None:
        """Wait until no more is to be expected, or not much longer."""

    async def reading(self) -> Counters | None:
        """Return the counters; None where it has none, or does not tell."""

    def pulses(self, noticed: Sequence[int], reading: Counters | None) -> int:
        """Return how many there were, from what was noticed one after the other and the counters afterwards."""


class NoCounter:
    """The evidence of a device without a counter.

    Args:
        of_noticed: what is made of the pulses noticed one after the other: ``sum``, or ``max`` where one and the same
            may be noticed more than once.
    """

    def __init__(self, of_noticed: Callable[[Iterable[int]], int]) -> None:
        self._of_noticed = of_noticed

    async def quiet(self) -> None:
        """Wait for nothing."""

    async def reading(self) -> None:
        """Return nothing."""

    def pulses(self, noticed: Sequence[int], _reading: Counters | None) -> int:
        """Return what was noticed."""
        return self._of_noticed(noticed)


class Watch:
    """Turns what was noticed into one ``Unasked`` a kind and outburst, after the device was disarmed.

    Args:
        disarm: disarms; True if it was read back. Never raises.
        evidence: of pulses.
        told: where the room hears of it.

    Attributes:
        active: nothing is taken notice of before a connection stands.
    """

    def __init__(self, disarm: Callable[[], Awaitable[bool]], evidence: Evidence, told: asyncio.Queue[Unasked]) -> None:
        self.active = False
        self._disarm = disarm
        self._evidence = evidence
        self._told = told
        self._noticed: list[Unasked] = []
        self._task: asyncio.Task[None] | None = None

    def notice(self, strange: Unasked) -> None:
        """Take notice; disarming begins with the next turn of the event loop."""
        if not self.active:
            return
        self._noticed.append(strange)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer(), name="unasked")

    async def stop(self) -> None:
        """Take notice no more; what is being dealt with is still told."""
        self.active = False
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.gather(self._task, return_exceptions=True)

    async def _answer(self) -> None:
        while self._noticed:
            disarmed = await self._disarm()
            await self._evidence.quiet()
            noticed, self._noticed = self._noticed, []
            reading = await self._evidence.reading()
            for kind in _KINDS:
                self._tell([item for item in noticed if item.kind == kind], reading, disarmed=disarmed)

    def _tell(self, noticed: list[Unasked], reading: Counters | None, *, disarmed: bool) -> None:
        if not noticed:
            return
        self._told.put_nowait(
            Unasked(
                kind=noticed[0].kind,
                detail="; ".join(dict.fromkeys(item.detail for item in noticed)),
                pulses=self._evidence.pulses([item.pulses for item in noticed], reading),
                device_total_pulses=None if reading is None else reading.pulses,
                disarmed=disarmed,
            )
        )
