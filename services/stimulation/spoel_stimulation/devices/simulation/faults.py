"""The fault switchboard of a simulated device."""

from collections.abc import Callable, Iterable
from enum import StrEnum


class Fault(StrEnum):
    """Something that goes wrong with a device, its coil, its line, or is done at its front panel.

    The first three are the line's and the same for every maker (see ``ports``); the others are each device's own.
    """

    DROP_BYTES = "drop-bytes"
    """Single bytes get lost, both ways."""
    CORRUPT_CHECKSUM = "corrupt-checksum"
    """What the device says arrives damaged."""
    GO_SILENT = "go-silent"
    """Nothing that the device says arrives; it hears and obeys."""
    RESET = "reset"
    """It restarts: disarmed, as just switched on."""
    OVERHEAT = "overheat"
    """Its coil is too hot."""
    COIL_UNPLUGGED = "coil-unplugged"
    """No coil is plugged in."""
    REFUSE = "refuse"
    """It takes no arming and no start."""
    OTHER_COIL = "other-coil"
    """A coil of another type is plugged in."""
    PANEL_CHANGE = "panel-change"
    """Somebody changes a setting at the device."""
    PANEL_FIRE = "panel-fire"
    """Somebody fires a pulse at the device."""
    DISABLE_AFTER_TRAIN = "disable-after-train"
    """A disarm during a train takes effect when the train has ended."""
    DISABLE_IGNORED = "disable-ignored"
    """A disarm has no effect."""


MOMENTARY = frozenset({Fault.RESET, Fault.PANEL_CHANGE, Fault.PANEL_FIRE})
"""Those that happen once; the others last until they are cleared."""


class Faults:
    """The faults of one device: which are present, and who is told when one begins or ends.

    Args:
        at_start: present from the start; a momentary one of these happens when the device is first armed.

    Attributes:
        begun: the device's own: told of each fault that begins, or happens.
        ended: the device's own: told of each fault that ends.
        impossible: those that the device cannot have, and why not.
    """

    def __init__(self, at_start: Iterable[Fault] = ()) -> None:
        at_start = tuple(at_start)
        self.begun: Callable[[Fault], None] = lambda _fault: None
        self.ended: Callable[[Fault], None] = lambda _fault: None
        self.impossible: dict[Fault, str] = {}
        self._present = {fault for fault in at_start if fault not in MOMENTARY}
        self._waiting = [fault for fault in at_start if fault in MOMENTARY]

    def __contains__(self, fault: Fault) -> bool:
        return fault in self._present

    @property
    def present(self) -> list[Fault]:
        """Those that last at this moment, by name."""
        return sorted(self._present)

    def set(self, fault: Fault) -> None:
        """Have a fault begin, or a momentary one happen.

        Raises:
            ValueError: this device cannot have it.
        """
        if fault in self.impossible:
            raise ValueError(self.impossible[fault])
        if fault in self._present:
            return
        if fault not in MOMENTARY:
            self._present.add(fault)
        self.begun(fault)

    def clear(self, fault: Fault) -> None:
        """Have a fault end."""
        if fault in self._present:
            self._present.remove(fault)
            self.ended(fault)

    def armed(self) -> None:
        """Take notice from the device that it is armed: what waited for it happens now."""
        waiting, self._waiting = self._waiting, []
        for fault in waiting:
            self.begun(fault)
