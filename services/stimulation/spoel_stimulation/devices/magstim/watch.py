"""What happened at the device and nobody here asked for: gathered, answered with a disarm, and told."""

import asyncio
from collections.abc import Awaitable, Callable

from spoel_stimulation.devices.adapter import Unasked

_KINDS = ("pulse", "change", "link-lost")


class Watch:
    """Turns what was noticed into one ``Unasked`` a kind and outburst, after the device was disarmed.

    Args:
        disarm: disarms; True if it was read back.
        told: where the room hears of it.

    Attributes:
        active: nothing is taken notice of before a connection stands.
    """

    def __init__(self, disarm: Callable[[], Awaitable[bool]], told: asyncio.Queue[Unasked]) -> None:
        self.active = False
        self._disarm = disarm
        self._told = told
        self._noticed: list[Unasked] = []
        self._task: asyncio.Task[None] | None = None

    def notice(self, strange: Unasked) -> None:
        """Take notice; disarming begins with the next turn of the event loop."""
        if not self.active:
            return
        self._noticed.append(strange)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer(), name="magstim unasked")

    async def stop(self) -> None:
        """Take notice no more; what is being dealt with is still told."""
        self.active = False
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.gather(self._task, return_exceptions=True)

    async def _answer(self) -> None:
        while self._noticed:
            disarmed = await self._disarm()
            noticed, self._noticed = self._noticed, []
            for kind in _KINDS:
                self._tell([item for item in noticed if item.kind == kind], disarmed=disarmed)

    def _tell(self, noticed: list[Unasked], *, disarmed: bool) -> None:
        if not noticed:
            return
        detail = "; ".join(dict.fromkeys(item.detail for item in noticed))
        pulses = max(item.pulses for item in noticed)
        self._told.put_nowait(Unasked(kind=noticed[0].kind, detail=detail, pulses=pulses, disarmed=disarmed))
