"""What a room's guard has to know of a maker's wire protocol (INV-11). Pure; one implementation a maker.

The guard holds the port and passes whole frames. Of their meaning it knows three things: which of the host's frames can
lead to a pulse, how to disarm, and what the device's frames say about being armed and about pulses.
"""

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Line:
    """A serial line: 8 data bits, no parity, no flow control.

    Attributes:
        baudrate: bits a second.
        stop_bits: 1 or 2.
    """

    baudrate: int
    stop_bits: Literal[1, 2] = 1


@dataclass(frozen=True)
class Reading:
    """What one frame of the device says.

    Attributes:
        enabled: armed or not; None where the frame says nothing of it.
        pulses: pulses, or bursts, that it tells of; 0 where none.
    """

    enabled: bool | None = None
    pulses: int = 0


class Framer(Protocol):
    """Cuts a stream of bytes into whole frames; damaged ones are dropped and the next one is found."""

    @property
    def pending(self) -> bool:
        """A frame has begun and is not whole."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the frames that became whole, each with all its bytes."""

    def give_up_pending(self) -> list[bytes]:
        """Give up a frame whose rest does not come; return frames that were hidden behind it."""


class Guarded(Protocol):
    """One maker's protocol, as the guard sees it.

    Attributes:
        line: how the port is set.
        disarm: frames that disarm, written one after the other.
        ask: frames whose answer says whether the device is armed.
        gap_s: wall seconds from a disarm to the question behind it, where a device that is busy with the one may lose
            the other.
    """

    line: Line
    disarm: tuple[bytes, ...]
    ask: tuple[bytes, ...]
    gap_s: float

    def host_frames(self) -> Framer:
        """Return a framer for what the host sends."""

    def device_frames(self) -> Framer:
        """Return a framer for what the device sends."""

    def may_fire(self, frame: bytes) -> bool:
        """Tell whether a frame of the host can arm the device or cause a pulse: it is withheld after a stop."""

    def read(self, frame: bytes) -> Reading:
        """Return what a frame of the device says."""
