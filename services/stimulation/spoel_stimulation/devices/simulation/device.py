"""What the common parts need of a simulated device."""

from collections.abc import Callable
from typing import Protocol

from spoel_stimulation.devices.guarding import Framer
from spoel_stimulation.devices.simulation.faults import Faults
from spoel_stimulation.devices.simulation.pace import Pace


class SimulatedDevice(Protocol):
    """A device without its port.

    Attributes:
        speak: set by the port: sends **one** whole frame to the host. What happened is in the device's own log before
            it is spoken of.
        faults: its switchboard; the device sets ``faults.begun`` and ``faults.ended``, and calls ``faults.armed()``
            when it is armed.
        pace: how long it takes over what it is told; the port keeps to it.
    """

    speak: Callable[[bytes], None]
    faults: Faults
    pace: Pace

    @property
    def serial(self) -> str:
        """``SIM-…``, or what stands for it where the protocol has no serial number."""

    @property
    def total_pulses(self) -> int:
        """Pulses given since it was made, up to now."""

    def framer(self) -> Framer:
        """Return what cuts the host's bytes into the pieces that ``hear`` and ``take`` understand."""

    def hear(self, frame: bytes) -> None:
        """Write down one piece of what the host says, as it has arrived; it is not obeyed yet."""

    def take(self, frame: bytes) -> None:
        """Obey one piece of what the host says, and answer."""

    def close(self) -> None:
        """Switch off."""
