"""How a simulated coil warms up."""

import math
from dataclasses import dataclass

from spoel_common.clock import NS_PER_S


@dataclass
class Heat:
    """A temperature that pulses raise and time lowers; in degrees, or whatever unit the device tells it in.

    Attributes:
        ambient: to which it falls.
        per_pulse_at_full_output: rise by one pulse at 100 %; it goes with the square of the output.
        time_constant_s: of its fall, clock time.
        excess: above ``ambient`` at the monotonic clock time ``since_ns``.
    """

    ambient: float
    per_pulse_at_full_output: float
    time_constant_s: float
    excess: float = 0.0
    since_ns: int = 0

    def at(self, now_ns: int) -> float:
        """Return the temperature at a monotonic clock time."""
        passed_s = max(0, now_ns - self.since_ns) / NS_PER_S
        return self.ambient + self.excess * math.exp(-passed_s / self.time_constant_s)

    def pulses(self, count: int, percent: int, now_ns: int) -> None:
        """Take the heat of pulses given at a monotonic clock time."""
        self.excess = self.at(now_ns) - self.ambient + count * self.per_pulse_at_full_output * (percent / 100) ** 2
        self.since_ns = now_ns
