"""A line to a device that is written to and listened to; nothing on it is matched to anything. Wall time."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from spoel_stimulation.devices.adapter import LinkLost, NotReady
from spoel_stimulation.devices.guarding import Framer, Line
from spoel_stimulation.devices.transport import Transport


class Listener(Protocol):
    """Who hears everything that the device says."""

    def heard(self, frame: bytes) -> None:
        """Take a whole frame."""

    def lost(self, error: LinkLost) -> None:
        """Take notice that nothing will come any more."""


class Link:
    """One open connection: one writer at a time, one reader.

    Args:
        address: as for ``Transport``.
        line: how a serial port is set.
        framer: cuts what the device sends.
        listener: hears every frame.

    Attributes:
        broken: why the connection is gone; None while it stands.
    """

    def __init__(self, address: str, line: Line, framer: Framer, listener: Listener) -> None:
        self.broken: LinkLost | None = None
        self._transport = Transport(address, line)
        self._framer = framer
        self._listener = listener
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the connection and begin to read.

        Raises:
            LinkLost: nothing is there.
        """
        await self._transport.open()
        self._reader = asyncio.create_task(self._read(), name=f"read {self._transport.address}")

    async def send(self, frame: bytes, allowed: Callable[[], bool] = lambda: True) -> None:
        """Write one whole frame.

        Args:
            frame: its bytes.
            allowed: asked when it is this frame's turn; so nothing that was overtaken by a disarm goes out after it.

        Raises:
            LinkLost: the connection is gone.
            NotReady: not allowed any more; nothing was sent.
        """
        async with self._writing:
            if not allowed():
                raise NotReady("Held back: the device was disarmed in the meantime.")
            if self.broken is not None:
                raise LinkLost(self.broken.detail)
            try:
                await self._transport.write(frame)
            except LinkLost as error:
                self._give_up(error)
                raise

    async def close(self) -> None:
        """Stop reading and close. Never raises."""
        self.broken = self.broken or LinkLost("The connection was closed.")
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._transport.close()

    async def _read(self) -> None:
        try:
            while True:
                for frame in self._framer.feed(await self._transport.read()):
                    self._listener.heard(frame)
        except LinkLost as error:
            self._give_up(error)

    def _give_up(self, error: LinkLost) -> None:
        if self.broken is None:
            self.broken = error
            self._transport.abort()
            self._listener.lost(error)
