"""What a DuoMAG may be asked for (``capability.toml``). Pure."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.devices.adapter import NotSupported, TrainSettings
from spoel_stimulation.devices.pacing import MIN_INTERVAL_S, pacing_problems
from spoel_stimulation.devices.record import CapabilityRecord


class Capability(BaseModel):
    """The limits of a DuoMAG (``record.Capability``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: CapabilityRecord

    def check_percent_mso(self, percent_mso: int) -> None:
        """Refuse an intensity that the device does not have; 0 is how it is disarmed.

        Raises:
            NotSupported: outside 1 to 100.
        """
        if not 1 <= percent_mso <= self.record.max_percent_mso:
            raise NotSupported(
                f"percent_mso is {percent_mso}; a DuoMAG stimulates at 1 to {self.record.max_percent_mso} %.",
                model=self.record.name,
            )

    def check(self, settings: TrainSettings) -> None:
        """Refuse what the device, or the host's timing, cannot do.

        Raises:
            NotSupported: names the setting, what is wrong and what is allowed.
        """
        self.check_percent_mso(settings.percent_mso)
        for problem in self._problems(settings):
            raise NotSupported(f"{problem} ({self.record.name}).", model=self.record.name)

    def minimum_wait_s(self, _settings: TrainSettings) -> float:
        """Return the least interval between two pulses that the host times."""
        return MIN_INTERVAL_S

    def _problems(self, settings: TrainSettings) -> list[str]:
        problems = []
        if settings.pulses_per_burst > 1:
            problems.append(f"pulses_per_burst is {settings.pulses_per_burst}; only single pulses go over its line")
        if settings.waveform not in self.record.waveforms:
            problems.append(f"waveform is {settings.waveform}; it is biphasic and cannot be chosen")
        if settings.current_direction not in self.record.current_directions:
            problems.append("current_direction cannot be chosen")
        return problems + pacing_problems(settings, self.record.max_autonomous_s)


class Assumed(BaseModel):
    """What the simulator assumes of the device; temperatures in the converter's own units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recharge_s: float
    ambient_adc: float
    adc_per_pulse_at_full_output: float
    time_constant_s: float
    cut_out_adc: int
    source: str
    verified: bool


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("capability.toml").read_text(encoding="utf-8"))


@cache
def capability() -> Capability:
    """Return what a DuoMAG may be asked for."""
    return Capability(record=CapabilityRecord.model_validate(_data()["record"]))


@cache
def assumed() -> Assumed:
    """Return what the simulator assumes."""
    return Assumed.model_validate(_data()["simulator"])
