"""What a simulated Magstim and the part that makes it one model ask of each other."""

from collections.abc import Callable
from typing import Protocol

from spoel_common.clock import Clock
from spoel_stimulation.devices.magstim.codec import NOT_UNDERSTOOD, REFUSED, Lengths
from spoel_stimulation.devices.magstim.simulator_state import Power, Shot

Handler = Callable[[bytes], bytes]
"""Takes a command's data; returns what the answer says beyond the status."""


class Refuse(Exception):
    """Answered with ``S`` (it does not go with the state) or ``?`` (wrong data)."""

    def __init__(self, how: bytes = REFUSED) -> None:
        super().__init__(how)
        self.how = how


class Unknown(Exception):
    """Answered with ``?`` alone: no such command."""


class Silence(Exception):
    """Not answered at all."""


class Part(Protocol):
    """The commands and registers of one model.

    Attributes:
        name: of the simulator, under which its times stand in ``pace.toml``.
        power: of the first, or only, unit.
    """

    name: str
    power: Power

    @property
    def highest_percent(self) -> int:
        """Highest power that can be set."""

    def attach(self, device: "Device") -> dict[bytes, Handler]:
        """Begin to be a part of a device; return the commands by their letters."""

    def lengths(self) -> Lengths:
        """Return the lengths of a host's frames."""

    def silent(self, letter: bytes) -> bool:
        """Tell whether a command is not answered without remote control."""

    def takes_code(self, data: bytes) -> bool:
        """Tell whether a request for control is granted.

        Raises:
            Unknown: it is no such request for this model.
        """

    def status(self, letter: bytes) -> bytes:
        """Return what follows the status byte in answers to a command, before its data."""

    def shot(self) -> Shot:
        """Return what a start gives now.

        Raises:
            Refuse: nothing: it does not go with the settings.
        """

    def percent(self, index: int, now_ns: int) -> float:
        """Return the output that a pulse of a shot really has."""

    def gave(self, percent: float, now_ns: int) -> bool:
        """Take notice of a pulse; False if the device breaks down over it."""

    def reset(self) -> None:
        """Forget all settings, as just switched on."""

    def panel_change(self) -> None:
        """Change a setting as somebody at the panel does."""


class Device(Protocol):
    """What a part may ask of the device that it is a part of.

    Attributes:
        clock: whose time its pulses, its charge and its coil follow.
        error: 0, or a code that stands until it is switched off.
    """

    clock: Clock
    error: int

    @property
    def shot(self) -> Shot | None:
        """What is being given, None if nothing is."""

    @property
    def hot(self) -> bool:
        """The coil is too hot."""

    @property
    def coil_present(self) -> bool:
        """A coil is plugged in."""

    def settings_allowed(self, *, standby: bool = False) -> None:
        """Refuse where no setting may be changed.

        Raises:
            Refuse: without control, during a train and 0.5 s after it, or armed where that matters.
        """

    def control_needed(self) -> None:
        """Refuse without remote control.

        Raises:
            Refuse: as it says.
        """

    def break_down(self, code: int) -> None:
        """Show an error until it is switched off."""


def number(data: bytes, lowest: int, highest: int) -> int:
    """Return the number in a command's digits.

    Raises:
        Refuse: no number, or beyond what can be set.
    """
    if not data.isdigit() or not lowest <= int(data) <= highest:
        raise Refuse(NOT_UNDERSTOOD)
    return int(data)
