"""A heart that slows with trains of stimulation: what the simulated belt measures, and what the analysis is tried on.

Heart rate is a base rate, breathing, slow noise whose power falls with frequency, and a fall that follows the trains
through a first-order lag. Its strength, ``coupling_bpm``, is known: that is what it is for.
"""

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from spoel_stimulation.engine.coupling import Beats, Cycle

SLOWEST_HZ, FASTEST_HZ, NOISE_LINES = 0.003, 0.15, 90
BREATH_HZ = 0.25
LAG_S = 1.5
STEP_S = 0.05
STEPS_AHEAD = 2_000
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
    """Beats one after another; the same seed gives the same heart.

    Args:
        setting: of the person.
        seed: of noise and chance.
        stimulated: says whether a train is under way at a moment, in seconds of the heart's own time.
    """

    def __init__(self, setting: HeartSetting, seed: int, stimulated: Callable[[float], bool]) -> None:
        self.setting = setting
        self.time_s = 0.0
        self._stimulated = stimulated
        self._chance = np.random.default_rng(seed)
        self._hz = self._chance.uniform(SLOWEST_HZ, FASTEST_HZ, NOISE_LINES)
        self._phase = self._chance.uniform(0, 2 * np.pi, NOISE_LINES)
        strength = 1 / np.sqrt(self._hz)
        self._strength = strength * np.sqrt(2 / np.sum(strength**2))
        self._breath_phase = self._chance.uniform(0, 2 * np.pi)
        self._undisturbed = np.empty(0)
        self._response = 0.0
        self._made_up_s = 0.0

    def next_rr_ms(self) -> float:
        """Live until the next beat that is seen; returns the interval before it."""
        rr_s = self._one_s()
        if self._chance.random() < self.setting.missed_fraction:
            rr_s += self._one_s()
        return 1_000.0 * rr_s

    def _one_s(self) -> float:
        rr_s = self._sinus_s() + self._made_up_s
        self._made_up_s = 0.0
        if self._chance.random() < self.setting.ectopic_fraction:
            self._made_up_s = (1 - PREMATURE) * rr_s
            rr_s -= self._made_up_s
        self.time_s += rr_s
        return rr_s

    def _sinus_s(self) -> float:
        """Let the pacemaker's phase run to one beat, in small steps."""
        phase, time_s = 0.0, self.time_s
        while True:
            step = self._rate_bpm(time_s) / 60.0 * STEP_S
            if phase + step >= 1:
                return time_s - self.time_s + (1 - phase) / step * STEP_S
            phase, time_s = phase + step, time_s + STEP_S

    def _rate_bpm(self, time_s: float) -> float:
        target = 1.0 if self._stimulated(time_s) else 0.0
        self._response += (target - self._response) * STEP_S / LAG_S
        rate = self._undisturbed_bpm(int(time_s / STEP_S)) - self.setting.coupling_bpm * self._response
        return min(max(rate, SLOWEST_BPM), FASTEST_BPM)

    def _undisturbed_bpm(self, step: int) -> float:
        """Return heart rate without stimulation, worked out for a row of steps at once."""
        while step >= self._undisturbed.size:
            time_s = (self._undisturbed.size + np.arange(STEPS_AHEAD)) * STEP_S
            noise = np.cos(2 * np.pi * np.outer(time_s, self._hz) + self._phase) @ self._strength
            breath = np.cos(2 * np.pi * BREATH_HZ * time_s + self._breath_phase)
            setting = self.setting
            rate = setting.base_bpm + setting.noise_bpm * noise + setting.breath_bpm * breath
            self._undisturbed = np.concatenate([self._undisturbed, rate])
        return float(self._undisturbed[step])


def synthetic_beats(setting: HeartSetting, cycle: Cycle, seed: int, before_s: float = 10.0) -> Beats:
    """Return the beats of a heart during a row of trains, from ``before_s`` before the first to one cycle after all."""
    heart = Heart(setting, seed, lambda time_s: in_train(time_s - before_s, cycle))
    rr_ms: list[float] = []
    while heart.time_s < before_s + (cycle.trains + 1) * cycle.period_s:
        rr_ms.append(heart.next_rr_ms())
    return beats_from(rr_ms, -before_s)


def beats_from(rr_ms: Sequence[float], start_s: float) -> Beats:
    """Return intervals with the moments at which they end; the first begins at ``start_s``."""
    intervals = np.asarray(rr_ms, dtype=np.float64)
    return Beats(start_s + np.cumsum(intervals) / 1_000.0, intervals)


def in_train(time_s: float, cycle: Cycle) -> bool:
    """Tell whether a train is under way, ``time_s`` seconds after the first began."""
    return 0 <= time_s < cycle.trains * cycle.period_s and time_s % cycle.period_s < cycle.train_s
