"""Session with a MagPro: one writer, one reader, answers matched to requests. All time here is wall time.

The device answers some frames and not others, and puts frames of its own between a request and its answer. So every
frame that arrives goes to the listener, and the first one of the kind that a request waits for also ends that request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spoel_stimulation.devices.adapter import BadChecksum, LinkLost, NotReady
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame
from spoel_stimulation.devices.magpro.commands import Command, Unreadable
from spoel_stimulation.devices.magpro.guarding import MagProGuarded
from spoel_stimulation.devices.magpro.reports import Report, decode_report
from spoel_stimulation.devices.transport import Transport

ANSWER_TIMEOUT_S = 1.0
PIECE_TIMEOUT_S = 0.25

R = TypeVar("R")


class Listener(Protocol):
    """Who hears everything that the device says."""

    def heard(self, report: Report | Unreadable) -> None:
        """Take a report, asked for or not, in the order of arrival."""

    def lost(self, error: LinkLost) -> None:
        """Take notice that nothing will come any more."""


@dataclass(eq=False)
class _Waiter:
    kind: type
    answer: asyncio.Future[Report | None]


class MagProLink:
    """One open connection.

    Args:
        address: as for ``Transport``.
        listener: hears every report.
        answer_timeout_s: how long a request waits.
    """

    def __init__(self, address: str, listener: Listener, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._transport = Transport(address, MagProGuarded.line)
        self._listener = listener
        self._answer_timeout_s = answer_timeout_s
        self._parser = FrameParser()
        self._waiters: list[_Waiter] = []
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._lost: LinkLost | None = None

    @property
    def lost(self) -> LinkLost | None:
        """Why the connection is gone; None while it stands."""
        return self._lost

    @property
    def bad_frames(self) -> int:
        """Frames that arrived damaged."""
        return self._parser.bad_frames

    async def open(self) -> None:
        """Open the connection and begin to read.

        Raises:
            LinkLost: nothing is there.
        """
        await self._transport.open()
        self._reader = asyncio.create_task(self._read(), name=f"read {self._transport.address}")

    async def send(self, command: Command, allowed: Callable[[], bool] = lambda: True) -> None:
        """Write one whole frame.

        Args:
            command: what to say.
            allowed: asked when it is this frame's turn; so nothing that was overtaken by a disarm goes out after it.

        Raises:
            LinkLost: the connection is gone.
            NotReady: not allowed any more; nothing was sent.
        """
        async with self._writing:
            if not allowed():
                raise NotReady(f"{type(command).__name__} was held back: the device was disarmed in the meantime.")
            if self._lost is not None:
                raise LinkLost(self._lost.detail)
            try:
                await self._transport.write(encode_frame(command.encode()))
            except LinkLost as error:
                self._give_up(error)
                raise

    async def request(self, command: Command, kind: type[R], timeout_s: float | None = None) -> R:
        """Write one frame and return the first report of exactly this kind that arrives after it.

        Args:
            command: what to say.
            kind: of the answer.
            timeout_s: how long to wait; the link's own time-out if left out.

        Raises:
            LinkLost: no such answer in time, or the connection is gone.
            BadChecksum: no such answer in time, but damaged frames.
        """
        timeout_s = self._answer_timeout_s if timeout_s is None else timeout_s
        damaged_before = self._parser.bad_frames
        waiter = _Waiter(kind, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await self.send(command)
            async with asyncio.timeout(timeout_s):
                report = await waiter.answer
        except TimeoutError as error:
            what = f"{type(command).__name__} to {self._transport.address} was not answered within {timeout_s} s"
            if self._parser.bad_frames > damaged_before:
                raise BadChecksum(f"{what}; damaged frames arrived. Check cable and earth.") from error
            raise LinkLost(f"{what}. Check the device.") from error
        finally:
            self._waiters.remove(waiter)
        if not isinstance(report, kind):
            raise LinkLost(f"The connection broke before {type(command).__name__} was answered. Check the device.")
        return report

    async def close(self) -> None:
        """Stop reading and close; whoever still waits for an answer gets ``LinkLost``. Never raises."""
        self._end(LinkLost("The connection was closed."))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._transport.close()

    async def _read(self) -> None:
        try:
            while True:
                for body in await self._next_bodies():
                    self._deliver(decode_report(body))
        except LinkLost as error:
            self._give_up(error)

    async def _next_bodies(self) -> list[bytes]:
        """Read once; a frame begun whose rest does not come is given up, so that it hides nothing behind it."""
        try:
            async with asyncio.timeout(PIECE_TIMEOUT_S if self._parser.pending else None):
                return self._parser.feed(await self._transport.read())
        except TimeoutError:
            return self._parser.give_up_pending()

    def _deliver(self, report: Report | Unreadable) -> None:
        self._listener.heard(report)
        if isinstance(report, Unreadable):
            return
        for waiter in self._waiters:
            if not waiter.answer.done() and waiter.kind is type(report):
                waiter.answer.set_result(report)
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
