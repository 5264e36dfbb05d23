"""Heart-brain coupling: whether the heart slows in step with the trains of stimulation (PL-11).

Trains that come every ``period_s`` seconds pull heart rate along at the cycle frequency ``1 / period_s``, as Dijkstra
et al. 2023 showed (Biol Psychiatry GOS 3:939-947). Its power is compared with that of neighbouring frequencies of the
same recording, and its phase tells slowing from quickening. Nothing is interpolated: a cosine and a quadratic trend are
fitted to heart rate where there are beats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Floats = NDArray[np.float64]
Verdict = Literal["ranked", "no-location-differs", "no-coupling", "too-few-locations"]
NoResultReason = Literal["too-few-trains", "too-few-beats", "too-much-artefact"]

MS_PER_MINUTE = 60_000.0
MIN_BEATS_A_TRAIN = 5
"""Fewer beats a train than this cannot be: 5 in 16 s are 19 a minute."""
LONGEST_HOLE_S = 6.0
"""Longest time without a beat that counts; longer than two beats that were left out of a slow heart's."""
LEAST_NOISE_BPM2 = 1e-6
"""More than intervals in whole 1/1024 s leave of a heart like a clock, which is compared with this and not with 0."""


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    verified: bool


class ArtefactRules(_Rule):
    """Which intervals between beats are not the sinus node's, and how many of them are too many."""

    shortest_rr_ms: float = Field(gt=0)
    longest_rr_ms: float = Field(gt=0)
    neighbours: int = Field(ge=4)
    tolerance_fraction: float = Field(gt=0, lt=1)
    max_fraction: float = Field(gt=0, lt=1)


class SpectrumRules(_Rule):
    """Which frequencies the cycle frequency is compared with, and what it takes to measure."""

    nearest_bin: int = Field(ge=1)
    farthest_bin: int = Field(ge=2)
    min_trains: int = Field(ge=6)
    max_lag_s: float = Field(ge=0)

    @model_validator(mode="after")
    def _frequencies_exist(self) -> Self:
        if not self.nearest_bin <= self.farthest_bin < self.min_trains:
            raise ValueError(
                f"nearest_bin {self.nearest_bin}, farthest_bin {self.farthest_bin} and min_trains {self.min_trains} "
                "must ascend, the last strictly: there is no frequency of 0 or below"
            )
        return self


class RankingRules(_Rule):
    """How certain a coupling, and a difference between two locations, has to be."""

    alpha: float = Field(gt=0, lt=1)
    difference_z: float = Field(gt=0)


class CouplingRules(BaseModel):
    """Everything that the analysis takes from the data file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    artefacts: ArtefactRules
    spectrum: SpectrumRules
    ranking: RankingRules


class Cycle(NamedTuple):
    """The stimulation: ``trains`` of ``train_s`` seconds, one every ``period_s``, the first at second 0."""

    period_s: float
    train_s: float
    trains: int


class Beats(NamedTuple):
    """Heartbeats, in order.

    Attributes:
        time_s: shape ``(n,)``: when each interval ended, in seconds since the first train's onset.
        rr_ms: shape ``(n,)``: the interval before that moment.
    """

    time_s: Floats
    rr_ms: Floats


class Coupling(NamedTuple):
    """What was measured at one location.

    Attributes:
        cycle_hz: the cycle frequency.
        beats: intervals within the recording; ``artefacts`` of them were left out.
        mean_bpm: mean heart rate in beats a minute.
        power_bpm2: power of heart rate at the cycle frequency; ``noise_bpm2`` its mean at neighbouring frequencies.
        p_value: chance of such a ratio where there is no coupling (F test with 2 and twice the neighbours' degrees).
        amplitude_bpm: of the fitted cosine.
        trough_s: when heart rate was lowest, in seconds after a train's onset.
        slows: it was lowest during a train or shortly after.
    """

    cycle_hz: float
    beats: int
    artefacts: int
    mean_bpm: float
    power_bpm2: float
    noise_bpm2: float
    p_value: float
    amplitude_bpm: float
    trough_s: float
    slows: bool

    @property
    def ratio(self) -> float:
        """Power at the cycle frequency over that beside it."""
        return self.power_bpm2 / self.noise_bpm2


class NoResult(NamedTuple):
    """Nothing can be said of a location, and why."""

    reason: NoResultReason
    beats: int
    artefacts: int


@dataclass(frozen=True)
class RankedLocation:
    """One location: ``coupled`` says that the heart slowed with the trains beyond what chance does."""

    location: str
    coupled: bool
    fall_bpm: float
    ratio: float
    p_value: float


@dataclass(frozen=True)
class Ranking:
    """Locations from strongest to weakest coupling; ``best`` only where it is told apart from every other."""

    verdict: Verdict
    best: str | None
    locations: tuple[RankedLocation, ...]


def in_cycle(beats: Beats, onset_s: Floats, period_s: float) -> Beats:
    """Return the beats with time stretched between trains, so that train ``i`` begins at ``i * period_s`` exactly.

    A train that begins late, for a status that had to be asked again, then blurs nothing.

    Args:
        beats: in seconds since the first train's onset.
        onset_s: when each train began, ascending from 0, shape ``(trains,)``.
        period_s: the seconds that each cycle is made to last.
    """
    real_s = np.concatenate([[onset_s[0] - period_s], onset_s, [onset_s[-1] + period_s, onset_s[-1] + 2 * period_s]])
    made_s = period_s * np.arange(-1, onset_s.size + 2)
    return Beats(np.interp(beats.time_s, real_s, made_s, left=-period_s, right=np.inf), beats.rr_ms)


def find_artefacts(rr_ms: Floats, rules: ArtefactRules) -> NDArray[np.bool_]:
    """Tell which intervals are artefacts: ectopic beats, missed beats, noise.

    Args:
        rr_ms: intervals between beats, shape ``(n,)``.
        rules: possible range, and how far one may be from its neighbours.

    Returns:
        shape ``(n,)``.
    """
    possible = (rr_ms >= rules.shortest_rr_ms) & (rr_ms <= rules.longest_rr_ms)
    marked = ~possible
    half = rules.neighbours // 2
    accepted = _first_accepted(rr_ms, possible)
    for index in np.flatnonzero(possible):
        around = slice(max(0, index - half), index + half + 1)
        if _differs(rr_ms[index], accepted, rules) and _differs(
            rr_ms[index], float(np.median(rr_ms[around][~marked[around]])), rules
        ):
            marked[index] = True
        else:
            accepted = float(rr_ms[index])
    return marked


def _first_accepted(rr_ms: Floats, possible: NDArray[np.bool_]) -> float:
    """Return what the first interval is compared with: the median of all, so that a bad first one is found."""
    return float(np.median(rr_ms[possible])) if possible.any() else 0.0


def _differs(rr_ms: float, other_ms: float, rules: ArtefactRules) -> bool:
    return bool(abs(rr_ms - other_ms) > rules.tolerance_fraction * other_ms)


def measure(beats: Beats, cycle: Cycle, rules: CouplingRules) -> Coupling | NoResult:
    """Return how strongly heart rate follows the trains of one location.

    Args:
        beats: of the recording; those outside the cycles are left out.
        cycle: the trains.
        rules: of the data file.
    """
    length_s = cycle.trains * cycle.period_s
    within = (beats.time_s >= 0) & (beats.time_s < length_s)
    rr_ms, time_s = beats.rr_ms[within], beats.time_s[within]
    marked = find_artefacts(rr_ms, rules.artefacts)
    counted, bad = int(rr_ms.size), int(marked.sum())
    if cycle.trains < rules.spectrum.min_trains:
        return NoResult("too-few-trains", counted, bad)
    if bad > rules.artefacts.max_fraction * counted:
        return NoResult("too-much-artefact", counted, bad)
    if rr_ms.size - bad < MIN_BEATS_A_TRAIN * cycle.trains or not _covers(time_s[~marked], length_s):
        return NoResult("too-few-beats", counted, bad)
    rate_bpm = MS_PER_MINUTE / rr_ms[~marked]
    moment_s = time_s[~marked] - rr_ms[~marked] / 2_000.0
    fitted = _cosine(moment_s, rate_bpm, cycle.trains / length_s, length_s)
    beside = _neighbours(cycle.trains, rules.spectrum) / length_s
    powers = [_power(_cosine(moment_s, rate_bpm, float(hz), length_s)) for hz in beside]
    trough_s = _trough_s(fitted, cycle.period_s)
    noise = max(float(np.mean(powers)), LEAST_NOISE_BPM2)
    power = _power(fitted)
    return Coupling(
        cycle_hz=1.0 / cycle.period_s,
        beats=counted,
        artefacts=bad,
        mean_bpm=float(rate_bpm.mean()),
        power_bpm2=power,
        noise_bpm2=noise,
        p_value=_p_value(power, noise, len(powers)),
        amplitude_bpm=float(np.hypot(*fitted)),
        trough_s=trough_s,
        slows=trough_s <= cycle.train_s + rules.spectrum.max_lag_s,
    )


def _covers(time_s: Floats, length_s: float) -> bool:
    """Tell whether there are beats throughout: a hole in the recording is not averaged over."""
    return bool(np.diff(np.concatenate([[0.0], time_s, [length_s]])).max() <= LONGEST_HOLE_S)


def _neighbours(trains: int, rules: SpectrumRules) -> Floats:
    """Return the frequencies beside the cycle's, in cycles a recording; none is a multiple of it or near a trend."""
    offsets = np.arange(rules.nearest_bin, rules.farthest_bin + 1, dtype=np.float64)
    return np.concatenate([trains - offsets, trains + offsets])


def _cosine(time_s: Floats, rate_bpm: Floats, hz: float, length_s: float) -> tuple[float, float]:
    """Return the cosine's and the sine's amplitude of the best fit, beside a quadratic trend, by least squares."""
    angle = 2 * np.pi * hz * time_s
    trend = time_s / length_s
    columns = np.column_stack([np.cos(angle), np.sin(angle), np.ones_like(trend), trend, trend**2])
    found = np.linalg.lstsq(columns, rate_bpm, rcond=None)[0]
    return float(found[0]), float(found[1])


def _power(fitted: tuple[float, float]) -> float:
    return (fitted[0] ** 2 + fitted[1] ** 2) / 2


def _p_value(power: float, noise: float, neighbours: int) -> float:
    """Return the upper tail of F(2, 2m) at ``power / noise``, which has a closed form."""
    return float((1 + power / noise / neighbours) ** -neighbours)


def _trough_s(fitted: tuple[float, float], period_s: float) -> float:
    """Return when the fitted cosine is lowest, in seconds after a train's onset."""
    turn = (np.arctan2(fitted[1], fitted[0]) + np.pi) / (2 * np.pi)
    return float(turn % 1.0 * period_s)


def rank(found: Mapping[str, Coupling], rules: RankingRules) -> Ranking:
    """Return the locations from strongest to weakest, and the best where one stands out.

    Args:
        found: what was measured at each location.
        rules: how certain it has to be.
    """
    level = rules.alpha / max(1, len(found))
    ordered = sorted(found, key=lambda name: (-_fall_bpm(found[name]), name))
    locations = tuple(_ranked(name, found[name], level) for name in ordered)
    if not ordered[1:]:  # one location is not ranked against itself
        return Ranking("too-few-locations", None, locations)
    if not any(each.coupled for each in locations):
        return Ranking("no-coupling", None, locations)
    first = ordered[0]
    if locations[0].coupled and all(_stands_out(found[first], found[name], rules) for name in ordered[1:]):
        return Ranking("ranked", first, locations)
    return Ranking("no-location-differs", None, locations)


def _ranked(name: str, coupling: Coupling, level: float) -> RankedLocation:
    coupled = coupling.slows and coupling.p_value <= level
    return RankedLocation(name, coupled, _fall_bpm(coupling), coupling.ratio, coupling.p_value)


def _fall_bpm(coupling: Coupling) -> float:
    """Return by how much heart rate fell with the trains; negative where it rose."""
    return coupling.amplitude_bpm if coupling.slows else -coupling.amplitude_bpm


def _stands_out(best: Coupling, other: Coupling, rules: RankingRules) -> bool:
    """Tell whether the falls differ by more than their errors: an amplitude's variance is the power beside it."""
    error_bpm = float(np.sqrt(best.noise_bpm2 + other.noise_bpm2))
    return _fall_bpm(best) - max(0.0, _fall_bpm(other)) > rules.difference_z * error_bpm
