"""Session with a MagPro: commands out, reports in, answers matched to requests. All time here is wall time.

The device answers some frames and not others, and puts frames of its own between a request and its answer. So every
frame that arrives goes to the listener, and the first one of the kind that a request waits for also ends that request.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from spoel_stimulation.devices.adapter import LinkLost
from spoel_stimulation.devices.link import Link, Questions
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame
from spoel_stimulation.devices.magpro.commands import Command, Unreadable
from spoel_stimulation.devices.magpro.guarding import MagProGuarded
from spoel_stimulation.devices.magpro.reports import Report, decode_report

ANSWER_TIMEOUT_S = 1.0
PIECE_TIMEOUT_S = 0.25

R = TypeVar("R", bound=Report)


class Listener(Protocol):
    """Who hears everything that the device says."""

    def heard(self, report: Report | Unreadable) -> None:
        """Take a report, asked for or not, in the order of arrival."""

    def lost(self, error: LinkLost) -> None:
        """Take notice that nothing will come any more."""


class MagProLink:
    """One open connection.

    Args:
        address: as for ``Transport``.
        listener: hears every report.
        answer_timeout_s: how long a request waits.
    """

    def __init__(self, address: str, listener: Listener, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._parser = FrameParser()
        self._line = Link(address, MagProGuarded.line, self._parser, self, PIECE_TIMEOUT_S)
        self._questions: Questions[Report] = Questions(address, lambda: self._parser.bad_frames)
        self._listener = listener
        self._answer_timeout_s = answer_timeout_s

    @property
    def broken(self) -> LinkLost | None:
        """Why the connection is gone; None while it stands."""
        return self._line.broken

    async def open(self) -> None:
        """Open the connection and begin to read.

        Raises:
            LinkLost: nothing is there.
        """
        await self._line.open()

    async def send(self, command: Command, allowed: Callable[[], bool] = lambda: True) -> None:
        """Write one command; raises as ``Link.send`` does.

        Args:
            command: what to say.
            allowed: asked when it is this frame's turn; so nothing that was overtaken by a disarm goes out after it.
        """
        await self._line.send(encode_frame(command.encode()), allowed)

    async def request(self, command: Command, kind: type[R], timeout_s: float | None = None) -> R:
        """Write one command and return the first report of exactly this kind that arrives after it.

        Args:
            command: what to say.
            kind: of the answer.
            timeout_s: how long to wait; the link's own time-out if left out.

        Raises:
            LinkLost: no such answer in time, or the connection is gone.
            BadChecksum: no such answer in time, but damaged frames.
        """
        report = await self._questions.ask(
            type(command).__name__,
            lambda: self.send(command),
            lambda report: type(report) is kind,
            self._answer_timeout_s if timeout_s is None else timeout_s,
        )
        return cast("R", report)

    async def close(self) -> None:
        """Stop reading and close; whoever still waits for an answer gets ``LinkLost``. Never raises."""
        self._questions.end()
        await self._line.close()

    # --- what the line tells

    def heard(self, body: bytes) -> None:
        """Take what a frame carries."""
        report = decode_report(body)
        self._listener.heard(report)
        if not isinstance(report, Unreadable):
            self._questions.answer(report)

    def lost(self, error: LinkLost) -> None:
        """Take notice from the line that it is gone."""
        self._questions.end()
        self._listener.lost(error)
