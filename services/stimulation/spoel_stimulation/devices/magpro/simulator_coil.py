"""The coil of a simulated MagPro: plugged in or not, and how warm."""

from spoel_common.clock import Clock
from spoel_stimulation.devices.magpro.capability import warming
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.heat import Heat

OTHER_COIL = 72
TOO_HOT_BY_C = 2


class SimulatedCoil:
    """What the device sees of its coil.

    Args:
        clock: whose time it cools down in.
        faults: the device's switchboard.
    """

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self.heat = Heat(warming().ambient_c, warming().celsius_per_pulse_at_full_output, warming().time_constant_s)
        self._told_c = self.temperature_c()

    def kind(self, plugged_in: int) -> int:
        """Return the id that the device sees where that of ``plugged_in`` is in its socket; 0 for none."""
        if Fault.COIL_UNPLUGGED in self._faults:
            return 0
        return OTHER_COIL if Fault.OTHER_COIL in self._faults else plugged_in

    def temperature_c(self) -> int:
        """Return whole degrees Celsius."""
        if Fault.OVERHEAT in self._faults:
            return warming().cut_out_c + TOO_HOT_BY_C
        return int(self.heat.at(self._clock.monotonic_ns()))

    @property
    def too_hot(self) -> bool:
        """The device cuts out."""
        return self.temperature_c() >= warming().cut_out_c

    def warm_up(self, pulses: int, percent: int) -> bool:
        """Take the heat of pulses; True if it is a degree warmer than ever told."""
        self.heat.pulses(pulses, percent, self._clock.monotonic_ns())
        warmer = self.temperature_c() > self._told_c
        self._told_c = max(self._told_c, self.temperature_c())
        return warmer
