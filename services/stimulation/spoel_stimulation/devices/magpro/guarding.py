"""The MagPro's protocol as a room's guard sees it (``devices.guarding.Guarded``). Pure."""

from dataclasses import dataclass, field

from spoel_stimulation.devices.guarding import Line, Reading
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame
from spoel_stimulation.devices.magpro.commands import (
    AskStatus,
    FirePulse,
    FireTrain,
    SetEnabled,
    Unreadable,
    decode_command,
)
from spoel_stimulation.devices.magpro.reports import Stimulus, decode_report, status_byte

BAUDRATE = 38_400
_HEAD, _TAIL = 2, -2


@dataclass
class WholeFrames:
    """A ``FrameParser`` that returns each frame with all its bytes."""

    _parser: FrameParser = field(default_factory=FrameParser)

    @property
    def pending(self) -> bool:
        """A frame has begun and is not whole."""
        return self._parser.pending

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the frames that became whole."""
        return [encode_frame(body) for body in self._parser.feed(data)]

    def give_up_pending(self) -> list[bytes]:
        """Give up a frame whose rest does not come; return frames that were hidden behind it."""
        return [encode_frame(body) for body in self._parser.give_up_pending()]


class MagProGuarded:
    """What a guard has to know of a MagPro. That disabling ends a train under way was not tried on hardware."""

    line = Line(BAUDRATE)
    disarm: tuple[bytes, ...] = (encode_frame(SetEnabled(enabled=False).encode()),)
    ask: tuple[bytes, ...] = (encode_frame(AskStatus().encode()),)
    gap_s = 0.0

    def host_frames(self) -> WholeFrames:
        """Return a framer for what the host sends."""
        return WholeFrames()

    def device_frames(self) -> WholeFrames:
        """Return a framer for what the device sends."""
        return WholeFrames()

    def may_fire(self, frame: bytes) -> bool:
        """Tell whether a host's frame enables, fires, or says something unknown: then it might do either."""
        command = decode_command(frame[_HEAD:_TAIL])
        if isinstance(command, SetEnabled):
            return command.enabled
        return isinstance(command, FirePulse | FireTrain | Unreadable)

    def read(self, frame: bytes) -> Reading:
        """Return what a frame of the device says; a stimulus is a pulse, or a whole burst."""
        report = decode_report(frame[_HEAD:_TAIL])
        if isinstance(report, Unreadable):
            return Reading()
        status = status_byte(report)
        return Reading(
            enabled=None if status is None else status.enabled, pulses=1 if isinstance(report, Stimulus) else 0
        )
