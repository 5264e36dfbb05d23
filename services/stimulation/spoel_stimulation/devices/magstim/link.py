"""Session with a Magstim: one writer, one reader, answers matched to questions. All time here is wall time.

One question is under way at a time, but for a disarm: it waits for nobody's answer. The device never speaks unasked, so
whatever arrives without a question, or under another letter, is dropped.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from spoel_stimulation.devices.adapter import BadChecksum, LinkLost, NotReady, RefusedByDevice
from spoel_stimulation.devices.magstim.codec import BAUDRATE, FrameCutter, Version, answer_lengths
from spoel_stimulation.devices.magstim.messages import DISARM, Message, NotUnderstood, Refused, decode_answer
from spoel_stimulation.devices.transport import Transport

ANSWER_TIMEOUT_S = 0.4
"""Short enough that a keep-alive that was lost is repeated before a device drops control."""

PIECE_TIMEOUT_S = 0.1
KEEP_ALIVE_GAP_S = 0.03


class UnknownCommand(BadChecksum):
    """``?``: this model has no such command, or it arrived damaged."""

    slug = "device-unknown-command"
    title = "Not understood by the stimulator"


class Listener(Protocol):
    """Who hears everything that the device says."""

    def heard(self, message: Message) -> None:
        """Take an answer, in the order of arrival."""

    def lost(self, error: LinkLost) -> None:
        """Take notice that nothing will come any more."""


@dataclass(eq=False)
class _Waiter:
    letter: str
    answer: asyncio.Future[Message | None]


class MagstimLink:
    """One open connection.

    Args:
        address: as for ``Transport``.
        listener: hears every answer.
        answer_timeout_s: how long a question waits.

    Attributes:
        written_s: wall ``time.monotonic()`` of the last frame written.
    """

    def __init__(self, address: str, listener: Listener, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.written_s = 0.0
        self._transport = Transport(address, BAUDRATE)
        self._listener = listener
        self._answer_timeout_s = answer_timeout_s
        self._cutter = FrameCutter(answer_lengths())
        self._waiters: list[_Waiter] = []
        self._asking = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._lost: LinkLost | None = None

    @property
    def lost(self) -> LinkLost | None:
        """Why the connection is gone; None while it stands."""
        return self._lost

    @property
    def bad_frames(self) -> int:
        """Frames that arrived damaged."""
        return self._cutter.bad_frames

    def speaks(self, version: Version) -> None:
        """Take notice of the device's version: from now on no length is in doubt."""
        self._cutter.lengths = answer_lengths(version)

    async def open(self) -> None:
        """Open the connection and begin to read.

        Raises:
            LinkLost: nothing is there.
        """
        await self._transport.open()
        self._reader = asyncio.create_task(self._read(), name=f"read {self._transport.address}")

    async def ask(
        self, frame: bytes, timeout_s: float | None = None, allowed: Callable[[], bool] = lambda: True
    ) -> Message:
        """Write one frame and return what the device answers to it.

        Args:
            frame: whole, with its checksum.
            timeout_s: how long to wait; the link's own time-out if left out.
            allowed: asked when it is this frame's turn; so nothing that was overtaken by a disarm goes out after it.

        Raises:
            LinkLost: no answer in time, or the connection is gone.
            BadChecksum: no answer in time, but damaged frames; or the device says that it got a damaged one.
            RefusedByDevice: it answered that it does not do it.
            NotReady: not allowed any more; nothing was sent.
        """
        async with self._asking:
            if not allowed():
                raise NotReady(f"{_name(frame)} was held back: the device was disarmed in the meantime.")
            return await self._exchange(frame, timeout_s)

    async def fire(self, frame: bytes, allowed: Callable[[], bool]) -> Message:
        """Ask as ``ask`` does, at a moment well apart from the last frame, so that the device is not busy with that."""
        async with self._asking:
            await asyncio.sleep(max(0.0, self.written_s + KEEP_ALIVE_GAP_S - time.monotonic()))
            if not allowed():
                raise NotReady("The start was held back: the device was disarmed in the meantime.")
            return await self._exchange(frame, None)

    async def disarm(self) -> None:
        """Write the disarm at once, before whatever waits for its turn. Its answer is not waited for: it tells nothing.

        What else waits for an answer under the same letter, a start, gets none: it could not be told from this one.

        Raises:
            LinkLost: the connection is gone.
        """
        for waiter in self._waiters:
            if waiter.letter == "E" and not waiter.answer.done():
                waiter.answer.set_result(None)
        await self._write(DISARM)

    async def urgent(self, frame: bytes, timeout_s: float) -> Message:
        """Ask without waiting for one's turn; raises as ``ask`` does."""
        return await self._exchange(frame, timeout_s)

    async def close(self) -> None:
        """Stop reading and close; whoever still waits for an answer gets ``LinkLost``. Never raises."""
        self._end(LinkLost("The connection was closed."))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._transport.close()

    async def _exchange(self, frame: bytes, timeout_s: float | None) -> Message:
        timeout_s = self._answer_timeout_s if timeout_s is None else timeout_s
        damaged_before = self._cutter.bad_frames
        waiter = _Waiter(chr(frame[0]), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await self._write(frame)
            async with asyncio.timeout(timeout_s):
                message = await waiter.answer
        except TimeoutError as error:
            what = f"{_name(frame)} to {self._transport.address} was not answered within {timeout_s:g} s"
            if self._cutter.bad_frames > damaged_before:
                raise BadChecksum(f"{what}; damaged frames arrived. Check cable and earth.") from error
            raise LinkLost(f"{what}. Check the device and its cable.") from error
        finally:
            self._waiters.remove(waiter)
        if message is None:
            raise LinkLost(f"{_name(frame)} was not answered: {self._lost or 'it was overtaken by a disarm'}.")
        return _accepted(message, frame)

    async def _write(self, frame: bytes) -> None:
        if self._lost is not None:
            raise LinkLost(self._lost.detail)
        try:
            await self._transport.write(frame)
        except LinkLost as error:
            self._give_up(error)
            raise
        self.written_s = time.monotonic()

    async def _read(self) -> None:
        try:
            while True:
                for frame in await self._next_frames():
                    message = decode_answer(frame)
                    if message is not None:
                        self._deliver(message)
        except LinkLost as error:
            self._give_up(error)

    async def _next_frames(self) -> list[bytes]:
        """Read once; a frame begun whose rest does not come is given up, so that it hides nothing behind it."""
        try:
            async with asyncio.timeout(PIECE_TIMEOUT_S if self._cutter.pending else None):
                return self._cutter.feed(await self._transport.read())
        except TimeoutError:
            return self._cutter.give_up_pending()

    def _deliver(self, message: Message) -> None:
        for waiter in self._waiters:
            meant = isinstance(message, NotUnderstood) or message.letter == waiter.letter
            if meant and not waiter.answer.done():
                self._listener.heard(message)
                waiter.answer.set_result(message)
                return

    def _give_up(self, error: LinkLost) -> None:
        if self._lost is None:
            self._end(error)
            self._listener.lost(error)

    def _end(self, error: LinkLost) -> None:
        self._lost = self._lost or error
        self._transport.abort()
        for waiter in self._waiters:
            if not waiter.answer.done():
                waiter.answer.set_result(None)


def _accepted(message: Message, frame: bytes) -> Message:
    if isinstance(message, NotUnderstood):
        raise UnknownCommand(
            f"The device did not understand {_name(frame)}: it arrived damaged, or this model has no such command."
        )
    if isinstance(message, Refused):
        why = "it does not go with its state, or it gives no remote control" if message.conflict else "wrong data"
        raise RefusedByDevice(f"The device refuses {_name(frame)}: {why}. Look at its screen.")
    return message


def _name(frame: bytes) -> str:
    """Return a command as text; an unlock code is never told."""
    return "Q" if frame[:1] == b"Q" else frame[:-1].decode("ascii", "replace")
