"""Where heartbeats come from: one interface for a belt over Bluetooth and for the simulated one over TCP."""

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from spoel_stimulation.heart.profile import Measurement

SIMULATED_SERIAL = "SIM-"


class HeartLost(Exception):
    """The belt is gone, never answered, or is not there; says what to do."""


class HeartNotAllowed(Exception):
    """The belt may not be used: a simulated one at a clinical site, or a real one under a fast clock (HZ-25)."""


class Belt(NamedTuple):
    """Who answers. None where it does not tell.

    Attributes:
        battery_percent: charge when it was asked.
    """

    serial: str | None
    battery_percent: int | None

    @property
    def simulated(self) -> bool:
        """Whether it says that it is a simulator."""
        return self.serial is not None and self.serial.startswith(SIMULATED_SERIAL)


Heard = Belt | Measurement


class HeartSource(Protocol):
    """One belt."""

    @property
    def address(self) -> str:
        """Where it is reached."""

    def listen(self) -> AsyncGenerator[Heard, None]:
        """Connect, yield who answers first, then each notification as it comes; whoever listens closes it.

        Raises:
            HeartLost: nobody answers within some seconds of wall time, or the connection ended.
        """
