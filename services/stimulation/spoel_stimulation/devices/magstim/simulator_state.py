"""What a simulated Magstim is made of: a power that follows slowly, a coil that warms, and what it is about to give.

Pure; all moments are clock time in nanoseconds.
"""

import math
from dataclasses import dataclass, field

NS_PER_S = 1_000_000_000
UP_NS_PER_PERCENT = 10_000_000
DOWN_NS_PER_PERCENT = 100_000_000
ROOM_C = 22.0
HOT_C = 40.0
_COOLING_S = 1_200.0
_TURN_PERCENT = 5
_HIGH_PERCENT = 50
_JOULES_PER_DEGREE = 10_000.0


@dataclass
class Power:
    """The set power, and the output that follows it: 10 ms a percent up, 100 ms a percent down."""

    percent: int = 30
    _from: float = 30.0
    _since_ns: int = 0

    def set(self, percent: int, now_ns: int) -> None:
        """Set another power."""
        self._from, self._since_ns, self.percent = self.real(now_ns), now_ns, percent

    def turn(self, now_ns: int) -> None:
        """Turn the wheel a little: up, or down where the power is high."""
        step = -_TURN_PERCENT if self.percent > _HIGH_PERCENT else _TURN_PERCENT
        self.set(self.percent + step, now_ns)

    def real(self, now_ns: int) -> float:
        """Return the percent that a pulse at this moment has."""
        passed_ns = now_ns - self._since_ns
        if self.percent >= self._from:
            return min(float(self.percent), self._from + passed_ns / UP_NS_PER_PERCENT)
        return max(float(self.percent), self._from - passed_ns / DOWN_NS_PER_PERCENT)


@dataclass
class Coil:
    """A coil that each pulse warms, and the room cools. Its constants are our choice, no device's."""

    _rise_c: float = 0.0
    _at_ns: int = 0

    def warm(self, joules: float, now_ns: int) -> None:
        """Take the heat of one pulse in."""
        self._rise_c = self.celsius(now_ns) - ROOM_C + joules / _JOULES_PER_DEGREE
        self._at_ns = now_ns

    def celsius(self, now_ns: int) -> float:
        """Return the temperature."""
        return ROOM_C + self._rise_c * math.exp(-(now_ns - self._at_ns) / NS_PER_S / _COOLING_S)


@dataclass
class Load:
    """What the power supply still has to make up for: energy beyond its mean power.

    Attributes:
        mean_w: its mean power.
    """

    mean_w: float
    _joules: float = 0.0
    _at_ns: int = 0

    def take(self, joules: float, now_ns: int) -> None:
        """Give one pulse's energy."""
        self._joules = self.joules(now_ns) + joules
        self._at_ns = now_ns

    def joules(self, now_ns: int) -> float:
        """Return what is still to be made up for."""
        return max(0.0, self._joules - (now_ns - self._at_ns) / NS_PER_S * self.mean_w)


@dataclass
class Shot:
    """What one start command gives: pulse k at ``start_ns + k * interval_ns``.

    Attributes:
        pulses: how many.
        interval_ns: from onset to onset; 0 for two at the same moment.
        recharge_ns: from the last pulse until it is ready again.
        start_ns: monotonic clock time of the first pulse; ``start_utc_ns`` the same moment in UTC.
        train: a train of a Rapid², told by its status.
        given: pulses given so far.
    """

    pulses: int
    interval_ns: int
    recharge_ns: int
    train: bool = False
    start_ns: int = 0
    start_utc_ns: int = 0
    given: int = field(default=0)

    def onset_ns(self, index: int) -> int:
        """Return the monotonic clock time of a pulse."""
        return self.start_ns + index * self.interval_ns
