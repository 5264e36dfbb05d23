"""What a MagPro may be asked for (``capability.toml``). Pure."""

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.devices.adapter import CurrentDirection, NotSupported, TrainSettings, Waveform
from spoel_stimulation.devices.magpro.values import (
    MODEL_NAMES,
    Mode,
    Model,
    interval_index,
    rates_tenth_hz,
)

NO_COIL = "none"
_TOLERANCE = 1e-6


class Capability(BaseModel):
    """The limits of one model.

    Attributes:
        wire: the model's number in the status byte.
        stimuli_per_train: ranges (first, last, step) of pulses, or bursts, that one train may have.
        max_rate_hz: highest rate of single pulses; ``max_burst_rate_hz`` of bursts.
        burst_pulses: pulses that a burst may have; empty where there are no bursts.
        min_pulse_interval_ms: shortest interval within a burst.
        max_autonomous_s: longest train, from first to last pulse, that the device may run on its own.
        source: where the numbers come from; ``verified`` says that somebody compared them with the unit's manual.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    wire: int
    waveforms: frozenset[Waveform]
    current_directions: frozenset[CurrentDirection]
    max_percent_mso: int
    stimuli_per_train: tuple[tuple[int, int, int], ...]
    max_rate_hz: int
    burst_pulses: frozenset[int]
    max_burst_rate_hz: int
    min_pulse_interval_ms: float
    max_autonomous_s: float
    source: str
    verified: bool

    def check_percent_mso(self, percent_mso: int) -> None:
        """Refuse an intensity that the device does not have.

        Raises:
            NotSupported: outside 0 to ``max_percent_mso``.
        """
        if not 0 <= percent_mso <= self.max_percent_mso:
            raise NotSupported(
                f"percent_mso is {percent_mso}; {self.name} has 0 to {self.max_percent_mso} %.", model=self.name
            )

    def check(self, settings: TrainSettings) -> None:
        """Refuse settings beyond the capability; nothing is ever changed to the nearest allowed value.

        Raises:
            NotSupported: names the setting, what is wrong and what is allowed.
        """
        self.check_percent_mso(settings.percent_mso)
        for problem in self._problems(settings):
            raise NotSupported(f"{problem} ({self.name}).", model=self.name)

    def _problems(self, settings: TrainSettings) -> list[str]:
        burst = settings.pulses_per_burst > 1
        problems = []
        if settings.waveform not in self.waveforms:
            problems.append(f"waveform {settings.waveform} is not one of {', '.join(sorted(self.waveforms))}")
        if settings.current_direction not in self.current_directions:
            problems.append(f"current_direction {settings.current_direction} cannot be chosen")
        if not any(settings.stimuli in range(first, last + 1, step) for first, last, step in self.stimuli_per_train):
            ranges = ", ".join(f"{first} to {last} in steps of {step}" for first, last, step in self.stimuli_per_train)
            problems.append(f"stimuli is {settings.stimuli}; {ranges} can be set")
        if settings.duration_s > self.max_autonomous_s + _TOLERANCE:
            problems.append(
                f"a train of {settings.duration_s:g} s is longer than the {self.max_autonomous_s:g} s for which the "
                "device may run on its own; split it"
            )
        problems += self._burst_problems(settings) if burst else []
        max_rate_hz = self.max_burst_rate_hz if burst else self.max_rate_hz
        if not _whole(settings.rate_hz * 10, rates_tenth_hz(max_rate_hz)):
            problems.append(
                f"rate_hz is {settings.rate_hz:g}; 0.1 to 1 in tenths, then whole numbers to {max_rate_hz} can be set"
            )
        return problems

    def _burst_problems(self, settings: TrainSettings) -> list[str]:
        if settings.pulses_per_burst not in self.burst_pulses:
            available = sorted(self.burst_pulses) or "no bursts"
            return [f"pulses_per_burst is {settings.pulses_per_burst}; this unit has {available}"]
        interval_s = settings.pulse_interval_s or 0.0
        problems = []
        if settings.waveform != "biphasic":
            problems.append(f"bursts are biphasic, not {settings.waveform}")
        if interval_s * 1_000 < self.min_pulse_interval_ms - _TOLERANCE:
            problems.append(
                f"pulse_interval_s is {interval_s:g}; at least {self.min_pulse_interval_ms:g} ms are needed"
            )
        if (settings.pulses_per_burst - 1) * interval_s >= 1 / settings.rate_hz:
            problems.append("a burst is longer than the interval between bursts")
        try:
            interval_index(Mode.STANDARD, tenth_ms(interval_s))
        except ValueError as error:
            problems.append(str(error))
        return problems


def _whole(value: float, allowed: tuple[int, ...]) -> bool:
    return round(value) in allowed and abs(value - round(value)) < _TOLERANCE * 10


def tenth_ms(interval_s: float) -> int:
    """Return seconds as whole tenths of a millisecond.

    Raises:
        ValueError: it is no whole number of them.
    """
    exact = interval_s * 10_000
    if abs(exact - round(exact)) > _TOLERANCE * 10:
        raise ValueError(f"pulse_interval_s is {interval_s}; whole tenths of a millisecond can be set")
    return round(exact)


class Coils(BaseModel):
    """Names of coil types by the id that the device reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: dict[int, str]
    source: str
    verified: bool


class _Records(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    coils: Coils
    model: tuple[Capability, ...]


@cache
def _records() -> _Records:
    text = files(__package__).joinpath("capability.toml").read_text(encoding="utf-8")
    return _Records.model_validate(tomllib.loads(text))


@cache
def capabilities() -> dict[Model, Capability]:
    """Return the capability of each model that Spoel drives."""
    return {Model(row.wire): row for row in _records().model}


def coil_name(coil_id: int) -> str:
    """Return the coil's model; ``none`` for 0, ``coil-N`` for an id that is not in the table."""
    return NO_COIL if coil_id == 0 else _records().coils.names.get(coil_id, f"coil-{coil_id}")


def capability_of(model: Model) -> Capability:
    """Return the capability of a model.

    Raises:
        NotSupported: a model without an entry in ``capability.toml``.
    """
    if model not in capabilities():
        raise NotSupported(f"{MODEL_NAMES[model]} has no entry in capability.toml; it may not be driven.")
    return capabilities()[model]
