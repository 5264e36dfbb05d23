"""The DuoMAG's protocol as a room's guard sees it (``devices.guarding.Guarded``). Pure.

It has no command that disarms: what comes nearest is intensity 0, at which a trigger gives no output. Its records tell
the intensity, again and again; they count no pulses.
"""

from spoel_stimulation.devices.duomag.codec import DISARM, CommandFrames, Status, StatusFrames, is_delay
from spoel_stimulation.devices.guarding import Line, Reading


class DuoMagGuarded:
    """What a guard has to know of a DuoMAG."""

    line = Line(1_000_000, stop_bits=2)
    disarm: tuple[bytes, ...] = (DISARM,)
    ask: tuple[bytes, ...] = ()
    gap_s = 0.0

    def host_frames(self) -> CommandFrames:
        """Return a framer for what the host sends."""
        return CommandFrames()

    def device_frames(self) -> StatusFrames:
        """Return a framer for what the device sends."""
        return StatusFrames()

    def may_fire(self, frame: bytes) -> bool:
        """Tell whether a command raises the intensity, fires, or is unknown; all but intensity 0 and delays."""
        return frame != DISARM and not is_delay(frame[0])

    def read(self, frame: bytes) -> Reading:
        """Return what a record says: a set point above 0 is as good as armed."""
        status = Status.decode(frame)
        return Reading() if status is None else Reading(enabled=status.percent > 0)
