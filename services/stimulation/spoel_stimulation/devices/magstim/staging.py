"""One train in a Magstim's own units: what is written before arming, and what must read back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from spoel_stimulation.devices.adapter import Setting, TrainSettings
from spoel_stimulation.devices.magstim.capability import pair_interval
from spoel_stimulation.devices.magstim.messages import PairMode, PairParameters, RapidParameters

_S_PER_PERCENT_UP = 0.01
_S_PER_PERCENT_DOWN = 0.1
_LONGEST_INTERVAL_MS = 999


@dataclass(frozen=True)
class RapidTrain:
    """What a Rapid² is told; a duration of 0 is single pulses.

    Attributes:
        tenth_hz: rate; None for single pulses, which have none.
        pulses: number of them; None for single pulses.
    """

    percent_mso: int
    tenth_hz: int | None
    pulses: int | None
    tenth_s: int

    @classmethod
    def of(cls, settings: TrainSettings) -> "RapidTrain":
        """Return checked settings in the device's units."""
        if settings.stimuli == 1:
            return cls(settings.percent_mso, None, None, 0)
        tenth_s = round(settings.stimuli * 10 / settings.rate_hz)
        return cls(settings.percent_mso, round(settings.rate_hz * 10), settings.stimuli, tenth_s)

    def set_point(self) -> dict[str, Setting]:
        """Return every setting by name, as it must read back."""
        point: dict[str, Setting] = {
            "mode": "train" if self.tenth_s else "single-pulse",
            "percent_mso": self.percent_mso,
            "duration_s": self.tenth_s / 10,
            "charge_delay_ms": 0,
            "enhanced_power": False,
        }
        if self.tenth_hz is not None and self.pulses is not None:
            point |= {"rate_hz": self.tenth_hz / 10, "stimuli": self.pulses}
        return point


@dataclass(frozen=True)
class Pair:
    """What a 200² or BiStim² is told.

    Attributes:
        mode: None on a 200².
        second_percent_mso: 0 where there is one pulse.
        interval: in the mode's units; None where there is one pulse.
    """

    percent_mso: int
    second_percent_mso: int
    mode: PairMode | None
    interval: int | None

    @classmethod
    def of(cls, settings: TrainSettings, *, bistim: bool) -> "Pair":
        """Return checked settings in the device's units."""
        if settings.pulses_per_burst == 1:
            return cls(settings.percent_mso, 0, PairMode.SINGLE if bistim else None, None)
        interval, fine = pair_interval(settings.pulse_interval_s or 0.0, _LONGEST_INTERVAL_MS)
        second = settings.percent_mso if settings.second_percent_mso is None else settings.second_percent_mso
        mode = PairMode.HIGH_RESOLUTION if fine else PairMode.LOW_RESOLUTION
        return cls(settings.percent_mso, second, mode, interval)

    def set_point(self) -> dict[str, Setting]:
        """Return every setting by name, as it must read back."""
        point: dict[str, Setting] = {
            "percent_mso": self.percent_mso,
            "second_percent_mso": self.second_percent_mso,
        }
        if self.mode is None:
            point["interval"] = 0
        else:
            point["mode"] = self.mode.name.lower().replace("_", "-")
        if self.interval is not None:
            point["interval"] = self.interval
        return point


def of_rapid(parameters: RapidParameters) -> dict[str, Setting]:
    r"""Return what ``\@`` says, under the names of ``RapidTrain.set_point``."""
    return {
        "percent_mso": parameters.percent_mso,
        "rate_hz": parameters.tenth_hz / 10,
        "stimuli": parameters.pulses,
        "duration_s": parameters.tenth_s / 10,
        "wait_s": parameters.wait_tenth_s / 10,
    }


def of_pair(parameters: PairParameters) -> dict[str, Setting]:
    """Return what ``J@`` says, under the names of ``Pair.set_point``."""
    return {
        "percent_mso": parameters.percent_mso,
        "second_percent_mso": parameters.second_percent_mso,
        "interval": parameters.interval,
    }


def differences(set_point: Mapping[str, Setting], read_back: Mapping[str, Setting], *, whole: bool) -> list[str]:
    """Return in words which settings are otherwise than they were written.

    Args:
        set_point: as written.
        read_back: as read.
        whole: one that was not read counts as otherwise.
    """
    return [
        f"{name} reads {read_back.get(name)!r} instead of {wanted!r}"
        for name, wanted in sorted(set_point.items())
        if (whole or name in read_back) and read_back.get(name) != wanted
    ]


def settle_s(before: int, after: int) -> float:
    """Return the seconds until the output has followed a change of power."""
    change = after - before
    return change * _S_PER_PERCENT_UP if change > 0 else -change * _S_PER_PERCENT_DOWN
