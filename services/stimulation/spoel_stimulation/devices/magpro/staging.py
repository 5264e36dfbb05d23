"""One train in the MagPro's own units: what is written before arming, and what must read back. Pure."""

from dataclasses import dataclass

from spoel_stimulation.devices.adapter import CurrentDirection, Setting, TrainSettings, Waveform
from spoel_stimulation.devices.magpro.capability import tenth_ms
from spoel_stimulation.devices.magpro.commands import SetAmplitude, SetDelays, SetTiming, SetWave
from spoel_stimulation.devices.magpro.reports import CountersReport, Delays, ShortStatus, Timing, WaveReport
from spoel_stimulation.devices.magpro.values import (
    PAIR_MODES,
    Direction,
    Mode,
    Model,
    Wave,
    interval_of_index,
    page_name,
)

_PAUSE_TENTH_S = 10
_IDLE_BURST_PULSES = 2
_IDLE_INTERVAL_TENTH_MS = 100
_EQUAL_RATIO = 100
_FULL_RAMP_PERCENT = 100

_WAVES: dict[Waveform, Wave] = {
    "biphasic": Wave.BIPHASIC,
    "monophasic": Wave.MONOPHASIC,
    "halfsine": Wave.HALFSINE,
}
_DIRECTIONS: dict[CurrentDirection, Direction] = {"normal": Direction.NORMAL, "reverse": Direction.REVERSE}


@dataclass(frozen=True)
class WireSettings:
    """One train in the device's own units: the four writes that stage it."""

    wave: SetWave
    timing: SetTiming
    delays: SetDelays
    amplitude: SetAmplitude

    def set_point(self) -> dict[str, Setting]:
        """Return every setting by name, as it must read back."""
        burst, pair = self.wave.wave is Wave.BIPHASIC_BURST, self.wave.mode in PAIR_MODES
        point: dict[str, Setting] = {
            "page": "timing",
            "mode": self.wave.mode.name.lower(),
            "waveform": self.wave.wave.name.lower().replace("_", "-"),
            "current_direction": self.wave.direction.name.lower(),
            "pulses_per_burst": 2 if pair else self.wave.burst_pulses if burst else 1,
            "timing_control": self.timing.control,
            "rate_hz": self.timing.rate_tenth_hz / 10,
            "stimuli": self.timing.pulses,
            "trains": self.timing.trains,
            "pause_s": self.timing.pause_tenth_s / 10,
            "warning_sound": self.timing.warning,
            "ramp_percent": _FULL_RAMP_PERCENT,
            "trigger_in_delay_ms": self.delays.trigger_in / 10,
            "trigger_out_delay_ms": self.delays.trigger_out / 10,
            "charge_delay_ms": self.delays.charge_ms,
            "percent_mso": self.amplitude.a,
        }
        if burst or pair:
            point["pulse_interval_ms"] = self.wave.interval_tenth_ms / 10
        if self.amplitude.b is not None:
            point["second_percent_mso"] = self.amplitude.b
        return point


def to_wire(settings: TrainSettings, model: Model) -> WireSettings:
    """Return checked settings in the device's units; the device's own number of trains is always 1 (INV-11).

    Fields that a train of single pulses does not use (burst, pause between trains, delays) get fixed values, so that
    nothing is left over from before.
    """
    pair = settings.second_percent_mso is not None
    burst = settings.pulses_per_burst > 1 and not pair
    interval_s = settings.pulse_interval_s
    return WireSettings(
        wave=SetWave(
            model=model,
            mode=Mode.DUAL if pair else Mode.STANDARD,
            direction=_DIRECTIONS[settings.current_direction],
            wave=Wave.BIPHASIC_BURST if burst else _WAVES[settings.waveform],
            burst_pulses=settings.pulses_per_burst if burst else _IDLE_BURST_PULSES,
            interval_tenth_ms=_IDLE_INTERVAL_TENTH_MS if interval_s is None else tenth_ms(interval_s),
            ratio_hundredths=_EQUAL_RATIO,
        ),
        timing=SetTiming(
            control=0,
            rate_tenth_hz=round(settings.rate_hz * 10),
            pulses=settings.stimuli,
            trains=1,
            pause_tenth_s=_PAUSE_TENTH_S,
            warning=False,
        ),
        delays=SetDelays(trigger_in=0, trigger_out=0, charge_ms=0),
        amplitude=SetAmplitude(settings.percent_mso, settings.second_percent_mso),
    )


@dataclass(frozen=True)
class Answers:
    """What the device says of its settings, one report of each kind."""

    wave: WaveReport
    timing: Timing
    delays: Delays
    status: ShortStatus
    counters: CountersReport

    def read_back(self) -> dict[str, Setting]:
        """Return every setting under the names of ``WireSettings.set_point``."""
        burst, pair = self.wave.wave is Wave.BIPHASIC_BURST, self.wave.mode in PAIR_MODES
        values: dict[str, Setting] = {
            "page": page_name(self.counters.page),
            "mode": self.wave.mode.name.lower(),
            "waveform": self.wave.wave.name.lower().replace("_", "-"),
            "current_direction": self.wave.direction.name.lower(),
            "pulses_per_burst": 2 if pair else self.wave.burst_pulses if burst else 1,
            "timing_control": self.timing.control,
            "rate_hz": self.timing.rate_tenth_hz / 10,
            "stimuli": self.timing.pulses,
            "trains": self.timing.trains,
            "pause_s": self.timing.pause_tenth_s / 10,
            "warning_sound": self.timing.warning,
            "ramp_percent": self.timing.ramp_percent,
            "trigger_in_delay_ms": self.delays.trigger_in / 10,
            "trigger_out_delay_ms": self.delays.trigger_out / 10,
            "charge_delay_ms": self.delays.charge_ms,
            "percent_mso": self.status.amplitude_a,
        }
        if burst or pair:
            values["pulse_interval_ms"] = self._interval_ms()
        if self.wave.mode is Mode.DUAL:
            values["second_percent_mso"] = self.status.amplitude_b
        return values

    def _interval_ms(self) -> float | str:
        try:
            return interval_of_index(self.wave.mode, self.wave.interval_index) / 10
        except ValueError:
            return f"unknown index {self.wave.interval_index}"
