"""What may be asked of a stimulator that is set by hand (``capability.toml``). Pure."""

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.devices.adapter import NotSupported, TrainSettings
from spoel_stimulation.devices.pacing import MIN_INTERVAL_S, pacing_problems
from spoel_stimulation.devices.record import CapabilityRecord


class Capability(BaseModel):
    """The limits of a unit that is set by hand (``record.Capability``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: CapabilityRecord

    def check_percent_mso(self, percent_mso: int) -> None:
        """Refuse an intensity beyond any unit's.

        Raises:
            NotSupported: outside 1 to 100.
        """
        if not 1 <= percent_mso <= self.record.max_percent_mso:
            raise NotSupported(
                f"percent_mso is {percent_mso}; 1 to {self.record.max_percent_mso} % can be set by hand."
            )

    def check(self, settings: TrainSettings) -> None:
        """Refuse what the host's timing, or one burst a trigger, cannot do.

        Raises:
            NotSupported: names the setting, what is wrong and what is allowed.
        """
        self.check_percent_mso(settings.percent_mso)
        problems = pacing_problems(settings, self.record.max_autonomous_s)
        if settings.pulses_per_burst > 1 and settings.pulses_per_burst not in self.record.pulses_per_burst:
            problems.append(f"pulses_per_burst is {settings.pulses_per_burst}; a trigger gives 1 to 5 pulses")
        for problem in problems:
            raise NotSupported(f"{problem} ({self.record.name}).", model=self.record.name)

    def minimum_wait_s(self, _settings: TrainSettings) -> float:
        """Return the least interval between two triggers."""
        return MIN_INTERVAL_S


@cache
def capability_of(model: str) -> Capability:
    """Return what may be asked of a unit of this name."""
    data = tomllib.loads(files(__package__).joinpath("capability.toml").read_text(encoding="utf-8"))
    return Capability(record=CapabilityRecord.model_validate(data["record"] | {"name": model}))
