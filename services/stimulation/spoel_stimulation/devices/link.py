"""A line to a device: whole frames out, one after the other, whole frames in. Time-outs are in wall time.

``Link`` is the line alone; ``Questions`` is who waits on it for which answer. A maker's own link is made of the two and
says what a frame means, and which answer belongs to which question.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from spoel_stimulation.devices.adapter import BadChecksum, LinkLost, NotReady
from spoel_stimulation.devices.guarding import Framer, Line
from spoel_stimulation.devices.transport import Transport

Message = TypeVar("Message")


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
        piece_timeout_s: a frame begun whose rest does not come for so long is given up, so that it hides nothing behind
            it; None where the next frame shows that.

    Attributes:
        address: as given.
        broken: why the connection is gone; None while it stands.
    """

    def __init__(
        self, address: str, line: Line, framer: Framer, listener: Listener, piece_timeout_s: float | None = None
    ) -> None:
        self.address = address
        self.broken: LinkLost | None = None
        self._transport = Transport(address, line.baudrate, line.stop_bits)
        self._framer = framer
        self._listener = listener
        self._piece_timeout_s = piece_timeout_s
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the connection and begin to read.

        Raises:
            LinkLost: nothing is there.
        """
        await self._transport.open()
        self._reader = asyncio.create_task(self._read(), name=f"read {self.address}")

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
        self._transport.abort()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._transport.close()

    async def _read(self) -> None:
        try:
            while True:
                for frame in await self._next_frames():
                    self._listener.heard(frame)
        except LinkLost as error:
            self._give_up(error)

    async def _next_frames(self) -> list[bytes]:
        try:
            async with asyncio.timeout(self._piece_timeout_s if self._framer.pending else None):
                return self._framer.feed(await self._transport.read())
        except TimeoutError:
            return self._framer.give_up_pending()

    def _give_up(self, error: LinkLost) -> None:
        if self.broken is None:
            self.broken = error
            self._transport.abort()
            self._listener.lost(error)


@dataclass(eq=False)
class _Waiter(Generic[Message]):
    name: str
    meant: Callable[[Message], bool]
    answer: asyncio.Future[Message | None]


class Questions(Generic[Message]):
    """Who waits for which answer on one line.

    Args:
        address: of the device, for whoever reads of an answer that did not come.
        bad_frames: how many frames have arrived damaged.
    """

    def __init__(self, address: str, bad_frames: Callable[[], int]) -> None:
        self._address = address
        self._bad_frames = bad_frames
        self._waiters: list[_Waiter[Message]] = []

    async def ask(
        self, name: str, send: Callable[[], Awaitable[None]], meant: Callable[[Message], bool], timeout_s: float
    ) -> Message:
        """Send a question, and return the first message from then on that is meant as its answer.

        Args:
            name: of the question, for people.
            send: writes its frame; what it raises is raised here.
            meant: tells whether a message answers it.
            timeout_s: how long to wait.

        Raises:
            LinkLost: no answer in time, or nobody waits for it any more.
            BadChecksum: no answer in time, but damaged frames.
        """
        damaged_before = self._bad_frames()
        waiter = _Waiter(name, meant, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await send()
            async with asyncio.timeout(timeout_s):
                message: Message | None = await waiter.answer
        except TimeoutError as error:
            what = f"{name} to {self._address} was not answered within {timeout_s:g} s"
            if self._bad_frames() > damaged_before:
                raise BadChecksum(f"{what}; damaged frames arrived. Check cable and earth.") from error
            raise LinkLost(f"{what}. Check the device and its cable.") from error
        finally:
            self._waiters.remove(waiter)
        if message is None:
            raise LinkLost(f"{name} was not answered: the connection broke, or a disarm overtook it. Check the device.")
        return message

    def waits_for(self, message: Message) -> bool:
        """Tell whether somebody waits for it."""
        return self._first(message) is not None

    def answer(self, message: Message) -> None:
        """Give a message to the first who waits for it, if anybody does."""
        waiter = self._first(message)
        if waiter is not None:
            waiter.answer.set_result(message)

    def end(self, named: str = "") -> None:
        """Let nobody wait any longer for an answer to a question whose name begins so: it will not come."""
        for waiter in self._waiters:
            if waiter.name.startswith(named) and not waiter.answer.done():
                waiter.answer.set_result(None)

    def _first(self, message: Message) -> _Waiter[Message] | None:
        return next((one for one in self._waiters if not one.answer.done() and one.meant(message)), None)
