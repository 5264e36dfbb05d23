"""The trigger box: one byte to it is one trigger pulse to the stimulator. It says nothing of its own. Pure.

Boxes differ in the byte they take; a simulated one says ``SIM-<number>`` and a line feed again and again, since nothing
may be sent to a box to ask who it is: it could fire.
"""

from dataclasses import dataclass, field

from spoel_stimulation.devices.guarding import Line, Reading

TRIGGER = b"\x01"
GREETING = b"SIM-"
_LONGEST_GREETING = 32


@dataclass
class SingleBytes:
    """Every byte is a frame of its own."""

    pending: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bytes one by one."""
        return [bytes((byte,)) for byte in data]

    def give_up_pending(self) -> list[bytes]:
        """Nothing is ever pending."""
        return []


@dataclass
class Lines:
    """What a simulated box says: lines that end in a line feed."""

    _buffer: bytearray = field(default_factory=bytearray)

    @property
    def pending(self) -> bool:
        """A line has begun and is not whole."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that became whole, with their line feeds."""
        *whole, rest = (bytes(self._buffer) + data).split(b"\n")
        self._buffer = bytearray(rest[:_LONGEST_GREETING])
        return [line + b"\n" for line in whole]

    def give_up_pending(self) -> list[bytes]:
        """Drop a line whose end does not come."""
        self._buffer.clear()
        return []


def greeted_by(frame: bytes) -> str | None:
    """Return the serial number in a simulated box's greeting; None for anything else."""
    number = frame.removeprefix(GREETING).strip()
    return f"SIM-{int(number)}" if frame.startswith(GREETING) and number.isdigit() else None


class TriggerBoxGuarded:
    """What a guard has to know of a trigger box: any byte may fire, and nothing can be asked or disarmed."""

    line = Line(115_200)
    disarm: tuple[bytes, ...] = ()
    ask: tuple[bytes, ...] = ()
    gap_s = 0.0

    def host_frames(self) -> SingleBytes:
        """Return a framer for what the host sends."""
        return SingleBytes()

    def device_frames(self) -> Lines:
        """Return a framer for what the box says."""
        return Lines()

    def may_fire(self, _frame: bytes) -> bool:
        """Return True: any byte may be the one that the box takes."""
        return True

    def read(self, _frame: bytes) -> Reading:
        """Return nothing: a box says nothing of the stimulator."""
        return Reading()
