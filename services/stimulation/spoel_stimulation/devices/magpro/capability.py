"""What a MagPro may be asked for (``capability.toml``). Pure."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.devices.adapter import NotSupported, TrainSettings
from spoel_stimulation.devices.magpro.values import (
    MODEL_NAMES,
    Mode,
    Model,
    interval_index,
    rates_tenth_hz,
)
from spoel_stimulation.devices.record import CapabilityRecord

NO_COIL = "none"
_TOLERANCE = 1e-6


class Capability(BaseModel):
    """The limits of one model (``record.Capability``).

    Attributes:
        record: what it can do, in the shape that every maker has.
        wire: the model's number in the status byte.
        stimuli_per_train: ranges (first, last, step) of pulses, or bursts, that one train may have.
        max_burst_rate_hz: highest rate of bursts.
        min_pulse_interval_ms: shortest interval within a burst.
        max_pair_rate_hz: highest rate of pairs whose second pulse has an intensity of its own (Dual mode); 0 for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: CapabilityRecord
    wire: int
    stimuli_per_train: tuple[tuple[int, int, int], ...]
    max_burst_rate_hz: int
    min_pulse_interval_ms: float
    max_pair_rate_hz: int

    def minimum_wait_s(self, _settings: TrainSettings) -> float:
        """Return 0: the device itself keeps what it needs between trains."""
        return 0.0

    def check_percent_mso(self, percent_mso: int) -> None:
        """Refuse an intensity that the device does not have.

        Raises:
            NotSupported: outside 0 to ``max_percent_mso``.
        """
        name, most = self.record.name, self.record.max_percent_mso
        if not 0 <= percent_mso <= most:
            raise NotSupported(f"percent_mso is {percent_mso}; {name} has 0 to {most} %.", model=name)

    def check(self, settings: TrainSettings) -> None:
        """Refuse settings beyond the capability; nothing is ever changed to the nearest allowed value.

        Raises:
            NotSupported: names the setting, what is wrong and what is allowed.
        """
        self.check_percent_mso(settings.percent_mso)
        for problem in self._problems(settings):
            raise NotSupported(f"{problem} ({self.record.name}).", model=self.record.name)

    def _problems(self, settings: TrainSettings) -> list[str]:
        burst, record = settings.pulses_per_burst > 1, self.record
        problems = []
        if settings.waveform not in record.waveforms:
            problems.append(f"waveform {settings.waveform} is not one of {', '.join(sorted(record.waveforms))}")
        if settings.current_direction not in record.current_directions:
            problems.append(f"current_direction {settings.current_direction} cannot be chosen")
        if not any(settings.stimuli in range(first, last + 1, step) for first, last, step in self.stimuli_per_train):
            ranges = ", ".join(f"{first} to {last} in steps of {step}" for first, last, step in self.stimuli_per_train)
            problems.append(f"stimuli is {settings.stimuli}; {ranges} can be set")
        if settings.duration_s > record.max_autonomous_s + _TOLERANCE:
            problems.append(
                f"a train of {settings.duration_s:g} s is longer than the {record.max_autonomous_s:g} s for which the "
                "device may run on its own; split it"
            )
        max_rate_hz = int(record.max_rate_hz(settings.percent_mso))
        if settings.second_percent_mso is not None:
            problems += self._pair_problems(settings, settings.second_percent_mso)
            max_rate_hz = self.max_pair_rate_hz
        elif burst:
            problems += self._burst_problems(settings)
            max_rate_hz = self.max_burst_rate_hz
        if not _whole(settings.rate_hz * 10, rates_tenth_hz(max_rate_hz)):
            problems.append(
                f"rate_hz is {settings.rate_hz:g}; 0.1 to 1 in tenths, then whole numbers to {max_rate_hz} can be set"
            )
        return problems

    def _burst_problems(self, settings: TrainSettings) -> list[str]:
        if settings.pulses_per_burst not in self.record.pulses_per_burst:
            available = sorted(self.record.pulses_per_burst) or "no bursts"
            return [f"pulses_per_burst is {settings.pulses_per_burst}; this unit has {available}"]
        interval_s = settings.pulse_interval_s or 0.0
        problems = []
        if settings.waveform != "biphasic":
            problems.append(f"bursts are biphasic, not {settings.waveform}")
        if interval_s * 1_000 < self.min_pulse_interval_ms - _TOLERANCE:
            problems.append(
                f"pulse_interval_s is {interval_s:g}; at least {self.min_pulse_interval_ms:g} ms are needed"
            )
        return problems + self._interval_problems(settings, Mode.STANDARD)

    def _pair_problems(self, settings: TrainSettings, second_percent_mso: int) -> list[str]:
        if not self.max_pair_rate_hz:
            return ["second_percent_mso is given; this unit gives no pairs with an intensity of their own"]
        problems = self._interval_problems(settings, Mode.DUAL)
        if not 0 <= second_percent_mso <= self.record.max_percent_mso:
            problems.append(
                f"second_percent_mso is {second_percent_mso}; 0 to {self.record.max_percent_mso} can be set"
            )
        return problems

    def _interval_problems(self, settings: TrainSettings, mode: Mode) -> list[str]:
        interval_s, problems = settings.pulse_interval_s or 0.0, []
        if (settings.pulses_per_burst - 1) * interval_s >= 1 / settings.rate_hz:
            problems.append("a burst is longer than the interval between bursts")
        try:
            interval_index(mode, tenth_ms(interval_s))
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


class Warming(BaseModel):
    """How the simulator's coil warms up, and when the unit cuts out.

    Attributes:
        celsius_per_pulse_at_full_output: it goes with the square of the output.
        time_constant_s: of cooling towards ``ambient_c``.
        cut_out_c: at which the unit disables itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    celsius_per_pulse_at_full_output: float
    ambient_c: float
    time_constant_s: float
    cut_out_c: int
    source: str
    verified: bool


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("capability.toml").read_text(encoding="utf-8"))


@cache
def capabilities() -> dict[Model, Capability]:
    """Return the capability of each model that Spoel drives."""
    data = _data()
    rows = [row | {"record": data["common"] | row["record"]} for row in data["model"]]
    return {Model(row["wire"]): Capability.model_validate(row) for row in rows}


@cache
def coils() -> Coils:
    """Return the names of coil types."""
    return Coils.model_validate(_data()["coils"])


@cache
def warming() -> Warming:
    """Return how a coil warms up."""
    return Warming.model_validate(_data()["warming"])


def coil_name(coil_id: int) -> str:
    """Return the coil's model; ``none`` for 0, ``coil-N`` for an id that is not in the table."""
    return NO_COIL if coil_id == 0 else coils().names.get(coil_id, f"coil-{coil_id}")


def capability_of(model: Model) -> Capability:
    """Return the capability of a model.

    Raises:
        NotSupported: a model without an entry in ``capability.toml``.
    """
    if model not in capabilities():
        raise NotSupported(f"{MODEL_NAMES[model]} has no entry in capability.toml; it may not be driven.")
    return capabilities()[model]
