"""What a simulated MagPro remembers, what its model allows, and the train that it runs. Pure."""

from dataclasses import dataclass, replace

from spoel_stimulation.devices.magpro import commands as ask
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.values import (
    PAIR_MODES,
    Direction,
    Mode,
    Model,
    Page,
    Wave,
    interval_table,
    rates_tenth_hz,
    ratio_index,
)

COIL = 60
MAX_PERCENT = 100
NS_PER_TENTH_S = 100_000_000
NS_PER_TEN_S = 10_000_000_000
PAGES_OF_HOST = frozenset({Page.MAIN, Page.TIMING, Page.TRIGGER, Page.CONFIGURATION, Page.PROTOCOL})
_STIMULI = (*range(1, 1_001), *range(1_100, 2_001, 100))
_MAX_TRAINS = 500
_MAX_PAUSE_TENTH_S = 1_200
_RATIOS = tuple(range(20, 501, 5))
_SLOW_MODELS = frozenset({Model.R30, Model.R30_OPTION, Model.R30_OPTION_MONO})
_WITH_BURST = frozenset({Model.X100, Model.X100_OPTION})
_WITH_MONO = frozenset({Model.X100, Model.R30_OPTION, Model.X100_OPTION, Model.R30_OPTION_MONO})
_WITH_OPTION = frozenset({Model.R30_OPTION, Model.X100_OPTION, Model.R30_OPTION_MONO})
_MODELS_OF_WAVE = {
    Wave.BIPHASIC: frozenset(Model),
    Wave.MONOPHASIC: _WITH_MONO,
    Wave.HALFSINE: _WITH_OPTION,
    Wave.BIPHASIC_BURST: _WITH_BURST,
}
_DELAYS = say.Delays(trigger_in=0, trigger_out=0, charge_ms=0)
_TIMING = say.Timing(
    control=0,
    extended_rate=False,
    rate_tenth_hz=10,
    pulses=5,
    trains=3,
    pause_tenth_s=10,
    warning=True,
    ramp_percent=100,
    ramp_trains=10,
)


@dataclass(frozen=True)
class Settings:
    """What the device remembers between commands; the defaults are those of a unit just switched on."""

    page: int = Page.MAIN
    amplitude_a: int = 0
    amplitude_b: int = 0
    mode: Mode = Mode.STANDARD
    direction: Direction = Direction.NORMAL
    wave: Wave = Wave.BIPHASIC
    burst_pulses: int = 2
    interval_tenth_ms: int = 100
    ratio_hundredths: int = 100
    timing: say.Timing = _TIMING
    delays: say.Delays = _DELAYS
    coil: int = COIL

    def with_wave(self, command: ask.SetWave, model: Model) -> "Settings":
        """Take a write of 09: what the model lacks is ignored, numbers go to the nearest allowed."""
        if model not in _MODELS_OF_WAVE[command.wave]:
            return self
        if command.mode is not Mode.STANDARD and model not in _WITH_OPTION:
            return self
        return replace(
            self,
            mode=command.mode,
            direction=command.direction,
            wave=command.wave,
            burst_pulses=min(max(command.burst_pulses, 2), 5),
            interval_tenth_ms=_nearest(command.interval_tenth_ms, interval_table(command.mode)),
            ratio_hundredths=_nearest(command.ratio_hundredths, _RATIOS),
        )

    def with_timing(self, command: ask.SetTiming, model: Model) -> "Settings":
        """Take a write of 0B: numbers go to the nearest allowed."""
        timing = replace(
            self.timing,
            control=command.control & 3,
            rate_tenth_hz=_nearest(command.rate_tenth_hz, rates_tenth_hz(self._max_rate_hz(model))),
            pulses=_nearest(command.pulses, _STIMULI),
            trains=min(max(command.trains, 1), _MAX_TRAINS),
            pause_tenth_s=min(max(command.pause_tenth_s, 1), _MAX_PAUSE_TENTH_S),
            warning=command.warning,
        )
        return replace(self, timing=timing)

    def _max_rate_hz(self, model: Model) -> int:
        slow = model in _SLOW_MODELS
        if self.mode in PAIR_MODES:
            return 5 if slow else 20
        return 30 if slow else 20 if self.wave is Wave.BIPHASIC_BURST else 100

    def wave_report(self, model: Model) -> say.WaveReport:
        """Return the answer to a read of 09; an R30 names itself wrongly there."""
        table = interval_table(self.mode)
        return say.WaveReport(
            88 if model is Model.R30 else model,
            self.mode,
            self.direction,
            self.wave,
            self.burst_pulses,
            table.index(_nearest(self.interval_tenth_ms, table)),
            MAX_PERCENT - self.amplitude_b if self.mode is Mode.DUAL else ratio_index(self.ratio_hundredths),
        )


@dataclass
class Counts:
    """What the device counts.

    Attributes:
        pulses: since it was made; kept over a restart.
        stimuli: since it was switched on; a burst or a pair is one.
        trains: since it was switched on.
    """

    pulses: int = 0
    stimuli: int = 0
    trains: int = 0


@dataclass
class Train:
    """A train under way: stimulus k of all its trains comes at ``onset_ns(k)`` of the clock.

    The pause runs from the last stimulus of a train to the first of the next, as the device counts it.

    Attributes:
        start_ns: monotonic clock time of the first stimulus; ``start_utc_ns`` the same moment in UTC.
        given: stimuli given so far.
    """

    start_ns: int
    start_utc_ns: int
    timing: say.Timing
    given: int = 0

    @property
    def stimuli(self) -> int:
        """Stimuli of all its trains."""
        return self.timing.pulses * self.timing.trains

    def onset_ns(self, index: int) -> int:
        """Return the monotonic clock time of a stimulus, exact."""
        train, stimulus = divmod(index, self.timing.pulses)
        in_train = (self.timing.pulses - 1) * NS_PER_TEN_S // self.timing.rate_tenth_hz
        period = in_train + self.timing.pause_tenth_s * NS_PER_TENTH_S
        return self.start_ns + train * period + stimulus * NS_PER_TEN_S // self.timing.rate_tenth_hz


def _nearest(value: int, allowed: tuple[int, ...]) -> int:
    return min(allowed, key=lambda candidate: abs(candidate - value))
