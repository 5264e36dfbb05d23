"""How warm the coil gets: a first-order model, and the forecast of a whole session before it starts (HZ-19).

Every pulse warms the coil by ``share * energy / capacity``; between pulses it cools towards its surroundings as
``exp(-t / time_constant)``. The parameters are data (``data/coils.toml``), and none of them was measured.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spoel_stimulation.engine.expansion import chunks
from spoel_stimulation.engine.load import pulse_energy_j
from spoel_stimulation.engine.pattern import NS_PER_S
from spoel_stimulation.engine.session import Session
from spoel_stimulation.engine.sourced import Rule, Sourced, read_data
from spoel_stimulation.engine.waveform import Shape

_SPAN = 100.0
"""Time constants that are summed at once: ``exp`` of it is still far from the largest number."""


class HeatLimits(Sourced):
    """When to warn."""

    warn_c: float


class CoilHeat(Sourced):
    """How a kind of coil warms and cools.

    Attributes:
        models: for which it stands.
        cooled: by a liquid.
        heat_share: of the energy that a pulse turns into heat, what stays in the coil, by waveform.
        heat_capacity_j_per_k: of the coil.
        time_constant_s: of its cooling.
        ambient_c: of the room, or of the cooling liquid.
    """

    models: tuple[str, ...]
    cooled: bool
    heat_share: Mapping[Shape, float]
    heat_capacity_j_per_k: float = Field(gt=0)
    time_constant_s: float = Field(gt=0)
    ambient_c: float


class HeatData(Rule):
    """The data file on coils."""

    limits: HeatLimits
    coil: tuple[CoilHeat, ...]


class Forecast(NamedTuple):
    """The coil's temperature through a session.

    Attributes:
        onset_s: of each pulse, since the session's first; shape ``(pulses,)``.
        temperature_c: just after each pulse; shape ``(pulses,)``.
        highest_c: of the session.
        limit_c: above which it is too warm.
        too_warm_at_s: when it first is, since the session's first pulse; None where it never is.
    """

    onset_s: NDArray[np.float64]
    temperature_c: NDArray[np.float64]
    highest_c: float
    limit_c: float
    too_warm_at_s: float | None


@cache
def heat_data() -> HeatData:
    """Return ``data/coils.toml``.

    Raises:
        pydantic.ValidationError: the file lacks a number or has one too many.
    """
    return HeatData.model_validate(read_data("coils.toml"))


def coil_heat(coil_model: str) -> CoilHeat | None:
    """Return how a model of coil warms, or None where nothing is known of it."""
    return next((each for each in heat_data().coil if coil_model in each.models), None)


def warming_k(coil: CoilHeat, shape: Shape, pulse_heat_j: float) -> float:
    """Return by how many degrees one pulse warms the coil.

    Args:
        coil: which.
        shape: of the pulse.
        pulse_heat_j: what the pulse turns into heat, in the whole circuit.
    """
    return coil.heat_share[shape] * pulse_heat_j / coil.heat_capacity_j_per_k


def forecast(
    session: Session, coil: CoilHeat, shape: Shape, heat_at_full_j: float, start_c: float | None = None
) -> Forecast:
    """Forecast the coil's temperature through a session.

    Args:
        session: what is delivered.
        coil: how it warms and cools.
        shape: of the pulses.
        heat_at_full_j: what one pulse at 100 % turns into heat.
        start_c: temperature now; by default that of the surroundings.
    """
    full_k = warming_k(coil, shape, heat_at_full_j)
    temperature = (coil.ambient_c if start_c is None else start_c) - coil.ambient_c
    last_s, onsets, temperatures = 0.0, [], []
    for chunk in chunks(session):
        onset_s = chunk.onset_ns / NS_PER_S
        above = _above_ambient(onset_s, _warmings(chunk.percent_mso, full_k), coil.time_constant_s, last_s, temperature)
        last_s, temperature = float(onset_s[-1]), float(above[-1])
        onsets.append(onset_s)
        temperatures.append(above + coil.ambient_c)
    onset_s, temperature_c = np.concatenate(onsets), np.concatenate(temperatures)
    limit_c = heat_data().limits.warn_c
    too_warm = np.flatnonzero(temperature_c > limit_c)
    return Forecast(
        onset_s,
        temperature_c,
        highest_c=float(temperature_c.max()),
        limit_c=limit_c,
        too_warm_at_s=float(onset_s[too_warm[0]]) if len(too_warm) else None,
    )


def _warmings(percent_mso: NDArray[np.int16], full_k: float) -> NDArray[np.float64]:
    by_percent = np.array([pulse_energy_j(percent, full_k) for percent in range(101)])
    return by_percent[percent_mso]


def _above_ambient(
    onset_s: NDArray[np.float64], warming_k: NDArray[np.float64], time_constant_s: float, last_s: float, above_k: float
) -> NDArray[np.float64]:
    """Return how far above ambient the coil is after each pulse, when it was ``above_k`` at ``last_s``.

    What each pulse brought has cooled since it came; so a running sum of ``warming * exp(t / tau)`` is multiplied by
    ``exp(-t / tau)``, over as many time constants as ``exp`` can take.
    """
    after = np.empty(len(onset_s))
    first = 0
    while first < len(onset_s):
        until = int(np.searchsorted(onset_s, onset_s[first] + _SPAN * time_constant_s, side="right"))
        here = slice(first, until)
        since = (onset_s[here] - onset_s[first]) / time_constant_s
        carried = above_k * np.exp(-(onset_s[first] - last_s) / time_constant_s)
        after[here] = np.exp(-since) * (carried + np.cumsum(warming_k[here] * np.exp(since)))
        last_s, above_k, first = float(onset_s[until - 1]), float(after[until - 1]), until
    return after
