"""A heart that slows with trains of stimulation: what the simulated belt measures, and what the analysis is tried on.

Heart rate is a base rate, breathing, slow noise whose power falls with frequency, and a fall that follows the trains
through a first-order lag. Its strength, ``coupling_bpm``, is known: that is what it is for.
"""

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from spoel_stimulation.engine.coupling import Beats, Cycle, Floats

SLOWEST_HZ, FASTEST_HZ, NOISE_LINES = 0.003, 0.15, 60
BREATH_HZ = 0.25
LAG_S = 1.5
STEP_S = 0.1
STEPS_AHEAD = 1_000
SLOWEST_BPM, FASTEST_BPM = 30.0, 180.0
PREMATURE = 0.6
"""An ectopic beat comes after this share of the interval, and the pause after it makes up for that."""


class HeartSetting(BaseModel):
    """One person's heart.

    Attributes:
        base_bpm: mean heart rate.
        coupling_bpm: by how much it falls in a long train; negative for one that quickens.
        breath_bpm: amplitude of breathing.
        noise_bpm: standard deviation of the slow noise.
        ectopic_fraction: share of beats that come too early.
        missed_fraction: share of beats that the belt does not see: two intervals become one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_bpm: float = Field(default=66.0, ge=40, le=120)
    coupling_bpm: float = Field(default=0.0, ge=-20, le=20)
    breath_bpm: float = Field(default=2.0, ge=0, le=10)
    noise_bpm: float = Field(default=2.0, ge=0, le=10)
    ectopic_fraction: float = Field(default=0.0, ge=0, le=0.5)
    missed_fraction: float = Field(default=0.0, ge=0, le=0.5)


class Heart:
    """A heart that lives in small steps; the same seed gives the same heart.

    Args:
        setting: of the person; may be replaced while it lives.
        seed: of noise and chance.
        stimulated: says whether a train is under way at a moment, in seconds of the heart's own time.
    """

    def __init__(self, setting: HeartSetting, seed: int, stimulated: Callable[[float], bool]) -> None:
        self.setting = setting
        self._stimulated = stimulated
        self._chance = np.random.default_rng(seed)
        self._hz = self._chance.uniform(SLOWEST_HZ, FASTEST_HZ, NOISE_LINES)
        self._turn = self._chance.uniform(0, 2 * np.pi, NOISE_LINES)
        strength = 1 / np.sqrt(self._hz)
        self._strength = strength * np.sqrt(2 / np.sum(strength**2))
        self._breath_turn = self._chance.uniform(0, 2 * np.pi)
        self._noise: Floats = np.empty((2, 0))
        self._noise_from = 0
        self._step = 0
        self._response = 0.0
        self._phase = 0.0
        self._due_at_phase = 1.0
        self._last_seen_s = 0.0

    def live(self, until_s: float) -> list[float]:
        """Live until a moment; returns the intervals in milliseconds that ended on the way, as the belt sees them."""
        seen: list[float] = []
        while (self._step + 1) * STEP_S <= until_s:
            grown = self._rate_bpm() / 60.0 * STEP_S
            self._phase += grown
            self._step += 1
            if self._phase >= self._due_at_phase:
                late = (self._phase - self._due_at_phase) / grown * STEP_S
                self._beat(self._step * STEP_S - late, seen)
        return seen

    def _beat(self, at_s: float, seen: list[float]) -> None:
        self._phase -= self._due_at_phase
        after_ectopic = self._due_at_phase < 1
        self._due_at_phase = 2 - PREMATURE if after_ectopic else 1.0
        if not after_ectopic and self._chance.random() < self.setting.ectopic_fraction:
            self._due_at_phase = PREMATURE
        if self._chance.random() < self.setting.missed_fraction:
            return
        seen.append(1_000.0 * (at_s - self._last_seen_s))
        self._last_seen_s = at_s

    def _rate_bpm(self) -> float:
        target = 1.0 if self._stimulated(self._step * STEP_S) else 0.0
        self._response += (target - self._response) * STEP_S / LAG_S
        setting, (noise, breath) = self.setting, self._noise_now()
        rate = setting.base_bpm + setting.noise_bpm * noise + setting.breath_bpm * breath
        return min(max(rate - setting.coupling_bpm * self._response, SLOWEST_BPM), FASTEST_BPM)

    def _noise_now(self) -> tuple[float, float]:
        """Return slow noise and breathing, each of unit size, worked out for a row of steps at once."""
        index = self._step - self._noise_from
        if index >= self._noise.shape[1]:
            time_s = (self._step + np.arange(STEPS_AHEAD)) * STEP_S
            slow = np.cos(2 * np.pi * np.outer(time_s, self._hz) + self._turn) @ self._strength
            breath = np.cos(2 * np.pi * BREATH_HZ * time_s + self._breath_turn)
            self._noise, self._noise_from, index = np.stack([slow, breath]), self._step, 0
        return float(self._noise[0, index]), float(self._noise[1, index])


def synthetic_beats(setting: HeartSetting, cycle: Cycle, seed: int, before_s: float = 10.0) -> Beats:
    """Return the beats of a heart during a row of trains, from ``before_s`` before the first to one cycle after all."""
    heart = Heart(setting, seed, lambda time_s: in_train(time_s - before_s, cycle))
    return beats_from(heart.live(before_s + (cycle.trains + 1) * cycle.period_s), -before_s)


def beats_from(rr_ms: Sequence[float], start_s: float) -> Beats:
    """Return intervals with the moments at which they end; the first begins at ``start_s``."""
    intervals = np.asarray(rr_ms, dtype=np.float64)
    return Beats(start_s + np.cumsum(intervals) / 1_000.0, intervals)


def in_train(time_s: float, cycle: Cycle) -> bool:
    """Tell whether a train is under way, ``time_s`` seconds after the first began."""
    return 0 <= time_s < cycle.trains * cycle.period_s and time_s % cycle.period_s < cycle.train_s
