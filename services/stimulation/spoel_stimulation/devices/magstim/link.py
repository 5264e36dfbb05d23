"""Session with a Magstim: questions out, answers matched to them. All time here is wall time.

One question is under way at a time, but for a disarm: it waits for nobody's answer. The device never speaks unasked, so
whatever arrives without a question, or under another letter, is dropped.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from spoel_stimulation.devices.adapter import BadChecksum, LinkLost, RefusedByDevice
from spoel_stimulation.devices.link import Link, Questions
from spoel_stimulation.devices.magstim.codec import FrameCutter, Version, answer_lengths
from spoel_stimulation.devices.magstim.guarding import GAP_S, MagstimGuarded
from spoel_stimulation.devices.magstim.messages import DISARM, Message, NotUnderstood, Refused, decode_answer

ANSWER_TIMEOUT_S = 0.4
"""Short enough that a keep-alive that was lost is repeated before a device drops control."""

PIECE_TIMEOUT_S = 0.1
_ARM_DISARM_OR_FIRE = "E"


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
        self._cutter = FrameCutter(answer_lengths())
        self._line = Link(address, MagstimGuarded.line, self._cutter, self, PIECE_TIMEOUT_S)
        self._questions: Questions[Message] = Questions(address, lambda: self._cutter.bad_frames)
        self._listener = listener
        self._answer_timeout_s = answer_timeout_s
        self._asking = asyncio.Lock()

    @property
    def broken(self) -> LinkLost | None:
        """Why the connection is gone; None while it stands."""
        return self._line.broken

    def speaks(self, version: Version) -> None:
        """Take notice of the device's version: from now on no length is in doubt."""
        self._cutter.lengths = answer_lengths(version)

    async def open(self) -> None:
        """Open the connection and begin to read.

        Raises:
            LinkLost: nothing is there.
        """
        await self._line.open()

    async def ask(self, frame: bytes, allowed: Callable[[], bool] = lambda: True) -> Message:
        """Write one frame and return what the device answers to it.

        Args:
            frame: whole, with its checksum.
            allowed: asked when it is this frame's turn; so nothing that was overtaken by a disarm goes out after it.

        Raises:
            LinkLost: no answer in time, or the connection is gone.
            BadChecksum: no answer in time, but damaged frames; or the device says that it got a damaged one.
            RefusedByDevice: it answered that it does not do it.
            NotReady: not allowed any more; nothing was sent.
        """
        async with self._asking:
            return await self._exchange(frame, self._answer_timeout_s, allowed)

    async def fire(self, frame: bytes, allowed: Callable[[], bool]) -> Message:
        """Ask as ``ask`` does, at a moment well apart from the last frame, so that the device is not busy with that."""
        async with self._asking:
            await self._gap()
            return await self._exchange(frame, self._answer_timeout_s, allowed)

    async def disarm(self) -> None:
        """Write the disarm at once, before whatever waits for its turn. Its answer is not waited for: it tells nothing.

        What else waits for an answer under the same letter, a start, gets none: it could not be told from this one.

        Raises:
            LinkLost: the connection is gone.
        """
        self._questions.end(_ARM_DISARM_OR_FIRE)
        await self._write(DISARM)

    async def urgent(self, frame: bytes, timeout_s: float) -> Message:
        """Ask without waiting for one's turn, apart from the last frame as ``fire`` does; raises as ``ask`` does."""
        await self._gap()
        return await self._exchange(frame, timeout_s)

    async def close(self) -> None:
        """Stop reading and close; whoever still waits for an answer gets ``LinkLost``. Never raises."""
        self._questions.end()
        await self._line.close()

    # --- what the line tells

    def heard(self, frame: bytes) -> None:
        """Take a frame of the device."""
        message = decode_answer(frame)
        if message is not None and self._questions.waits_for(message):
            self._listener.heard(message)
            self._questions.answer(message)

    def lost(self, error: LinkLost) -> None:
        """Take notice from the line that it is gone."""
        self._questions.end()
        self._listener.lost(error)

    # --- inside

    async def _gap(self) -> None:
        await asyncio.sleep(max(0.0, self.written_s + GAP_S - time.monotonic()))

    async def _exchange(self, frame: bytes, timeout_s: float, allowed: Callable[[], bool] = lambda: True) -> Message:
        letter = chr(frame[0])
        message = await self._questions.ask(
            _name(frame),
            lambda: self._write(frame, allowed),
            lambda message: isinstance(message, NotUnderstood) or message.letter == letter,
            timeout_s,
        )
        return _accepted(message, frame)

    async def _write(self, frame: bytes, allowed: Callable[[], bool] = lambda: True) -> None:
        await self._line.send(frame, allowed)
        self.written_s = time.monotonic()


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
