"""Pattern of a stimulation: nested counts, and intervals from onset to onset.

The vocabulary is that of NIBS-BIDS (BEP037): a *pulse*, a *burst* of pulses, a *train* of bursts (or of single pulses),
and a number of trains. Every interval runs from the onset of one to the onset of the next, so that nothing depends on
what a text means by "inter-train interval". All arithmetic is done in whole nanoseconds.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NS_PER_S = 1_000_000_000
MAX_PULSES = 100_000
PULSES_OF_A_PAIR = 2


def seconds_to_ns(duration_s: float) -> int:
    """Return ``duration_s`` seconds as the nearest whole number of nanoseconds."""
    return round(duration_s * NS_PER_S)


class Pattern(BaseModel):
    """Pulses in bursts, bursts in trains, trains in a session.

    Examples: 10 Hz standard ``(1, None, 40, 0.1, 75, 30.0)`` · iTBS 600 ``(3, 0.02, 10, 0.2, 20, 10.0)`` ·
    1 Hz ``(1, None, 900, 1.0, 1, 900.0)`` · quadripulse ``(4, 0.005, 360, 5.0, 1, 1800.0)``; a pair of pulses is a
    burst of two.

    Attributes:
        pulses_per_burst: 1 where the train is made of single pulses.
        pulse_interval_s: between pulses of one burst; None where a burst is one pulse.
        bursts_per_train: bursts, or single pulses, in one train.
        burst_interval_s: between bursts, or single pulses, of one train.
        trains: trains in the session.
        train_interval_s: between the first pulses of two trains.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pulses_per_burst: int = Field(default=1, ge=1, le=10)
    pulse_interval_s: float | None = Field(default=None, ge=0.0001, le=1.0)
    bursts_per_train: int = Field(ge=1, le=10_000)
    burst_interval_s: float = Field(ge=0.001, le=60.0)
    trains: int = Field(ge=1, le=10_000)
    train_interval_s: float = Field(ge=0.001, le=86_400.0)

    @model_validator(mode="after")
    def _check_nesting(self) -> Self:
        if (self.pulses_per_burst == 1) != (self.pulse_interval_s is None):
            raise ValueError("pulse_interval_s is given exactly where pulses_per_burst is 2 or more")
        if self.burst_duration_ns >= self.burst_interval_ns:
            raise ValueError(
                f"a burst lasts {self.burst_duration_ns} ns and must be shorter than burst_interval_s "
                f"({self.burst_interval_s} s)"
            )
        if self.train_duration_ns >= self.train_interval_ns:
            raise ValueError(
                f"a train lasts {self.train_duration_s} s and must be shorter than train_interval_s "
                f"({self.train_interval_s} s)"
            )
        if self.pulses > MAX_PULSES:
            raise ValueError(f"{self.pulses} pulses; a session has at most {MAX_PULSES}")
        return self

    @property
    def pulse_interval_ns(self) -> int:
        """Nanoseconds between pulses of a burst; 0 where a burst is one pulse."""
        return 0 if self.pulse_interval_s is None else seconds_to_ns(self.pulse_interval_s)

    @property
    def burst_interval_ns(self) -> int:
        """Nanoseconds between the onsets of two bursts."""
        return seconds_to_ns(self.burst_interval_s)

    @property
    def train_interval_ns(self) -> int:
        """Nanoseconds between the onsets of two trains."""
        return seconds_to_ns(self.train_interval_s)

    @property
    def burst_duration_ns(self) -> int:
        """Nanoseconds from the first to the last onset of a burst."""
        return (self.pulses_per_burst - 1) * self.pulse_interval_ns

    @property
    def train_duration_ns(self) -> int:
        """Nanoseconds from the first to the last onset of a train."""
        return (self.bursts_per_train - 1) * self.burst_interval_ns + self.burst_duration_ns

    @property
    def train_duration_s(self) -> float:
        """Seconds from the onset of a train's first pulse to the onset of its last."""
        return self.train_duration_ns / NS_PER_S

    @property
    def pulses_per_train(self) -> int:
        """Pulses in one train."""
        return self.pulses_per_burst * self.bursts_per_train

    @property
    def pulses(self) -> int:
        """Pulses in the session."""
        return self.pulses_per_train * self.trains

    @property
    def rate_hz(self) -> float:
        """Bursts, or single pulses, a second within a train."""
        return 1.0 / self.burst_interval_s

    @property
    def mean_rate_hz(self) -> float:
        """Pulses a second within a train: 15 Hz for theta burst."""
        return self.pulses_per_burst * self.rate_hz

    @property
    def highest_rate_hz(self) -> float:
        """The reciprocal of the shortest interval between two pulses of a train: 50 Hz for theta burst, not 15."""
        shortest_ns = self.pulse_interval_ns or self.burst_interval_ns
        if self.bursts_per_train > 1:
            shortest_ns = min(shortest_ns, self.burst_interval_ns - self.burst_duration_ns)
        return NS_PER_S / shortest_ns

    @property
    def slot_ns(self) -> int:
        """Nanoseconds of a train counted as n/f: one burst interval for every burst."""
        return self.bursts_per_train * self.burst_interval_ns
