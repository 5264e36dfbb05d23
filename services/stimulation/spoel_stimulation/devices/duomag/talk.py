"""What is said between host and DuoMAG over one connection: commands out, statuses in. All time here is wall time."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from spoel_stimulation.devices.adapter import DeviceError, LinkLost, NotReady
from spoel_stimulation.devices.duomag.codec import DISARM, Believing, Status, StatusFrames
from spoel_stimulation.devices.duomag.guarding import DuoMagGuarded
from spoel_stimulation.devices.link import Link

DISARM_TIMEOUT_S = 2.0
DISARM_AGAIN_S = 0.2
TAKES_S = 0.05


class Listener(Protocol):
    """Who hears what is believed."""

    def told(self, before: Status | None, now: Status) -> None:
        """Take a status, and the one before it."""

    def lost(self, error: LinkLost) -> None:
        """Take notice that nothing will come any more."""


class Talk:
    """One open connection.

    Args:
        address: as for ``Transport``.
        listener: hears every status that is believed.

    Attributes:
        link: the line.
        status: the last one believed; ``told_at_s`` the ``time.monotonic()`` at which it was.
    """

    def __init__(self, address: str, listener: Listener) -> None:
        self.link = Link(address, DuoMagGuarded.line, StatusFrames(), self)
        self.status: Status | None = None
        self.told_at_s = 0.0
        self._listener = listener
        self._believing = Believing()
        self._news = asyncio.Event()

    def heard(self, frame: bytes) -> None:
        """Take a record; it counts if it is believed."""
        now = self._believing.take(frame)
        if now is None:
            return
        before, self.status, self.told_at_s = self.status, now, time.monotonic()
        self._listener.told(before, now)
        self._news.set()

    def lost(self, error: LinkLost) -> None:
        """Take notice from the link that it is gone."""
        self._news.set()
        self._listener.lost(error)

    async def close(self) -> None:
        """Close the line; whoever waits, waits no longer. Never raises."""
        await self.link.close()
        self._news.set()

    @property
    def believed(self) -> Status:
        """The last status believed.

        Raises:
            NotReady: there is none.
        """
        if self.status is None:
            raise NotReady("The device has not told its status.")
        return self.status

    async def until(self, condition: Callable[[Status], bool], timeout_s: float, *, after_s: float = 0.0) -> bool:
        """Return whether a status that was told after ``after_s`` fulfils a condition within ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (self.status is not None and self.told_at_s > after_s and condition(self.status)):
                    if self.link.broken is not None:
                        return False
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def to_zero(self) -> bool:
        """Set intensity 0, again and again until it reads back in what was said a while after, or the time is up."""
        give_up_at = time.monotonic() + DISARM_TIMEOUT_S
        while time.monotonic() < give_up_at:
            try:
                await self.link.send(DISARM)
            except DeviceError:
                return False
            after_s = time.monotonic() + TAKES_S
            if await self.until(lambda told: told.percent == 0, DISARM_AGAIN_S, after_s=after_s):
                return True
        return False
