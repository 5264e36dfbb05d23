"""What a Magstim may be asked for (``capability.toml``). Pure."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.devices.adapter import CurrentDirection, NotSupported, TrainSettings, Waveform
from spoel_stimulation.devices.magstim.codec import Version
from spoel_stimulation.devices.record import CapabilityRecord, Claim, RateAnchor

RAPID_UNITS = ("rapid", "super", "super-plus")
_NAMES = dict(
    zip(RAPID_UNITS, ("Magstim Rapid²", "Magstim Super Rapid²", "Magstim Super Rapid² Plus"), strict=True),
)
_TOLERANCE = 1e-6
_LOW_RATE_HZ = 0.1
_TENTHS_A_SECOND = 10
_STEP_1_S_FROM_S = 30.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Range(_Part):
    from_major: int
    pulses: int
    duration_s: float


class _Unit(_Part):
    name: str
    mains_v: int
    max_rate: tuple[RateAnchor, ...]


class _RapidFacts(_Part):
    waveforms: frozenset[Waveform]
    current_directions: frozenset[CurrentDirection]
    max_percent_mso: int
    max_autonomous_s: float
    max_coil_temperature_c: float
    joules_at_full_output: float
    mean_power_w: float
    most_joules_a_train: float
    least_wait_s: float
    single_pulse_wait_s: float
    max_tenths_rate_hz: float
    source: str
    verified: bool
    cannot: tuple[str, ...]
    disarms_on_lost_contact: Claim
    stops_in_mid_train: Claim
    range: tuple[_Range, ...]
    unit: tuple[_Unit, ...]


class _Wait(_Part):
    percent_mso: int
    wait_s: float


class _SingleFacts(_Part):
    name: str
    waveforms: frozenset[Waveform]
    current_directions: frozenset[CurrentDirection]
    max_percent_mso: int
    waits: tuple[_Wait, ...]
    longest_interval_ms: int
    source: str
    verified: bool
    cannot: tuple[str, ...]

    def wait_s(self, percent_mso: int) -> float:
        """Return the pause after a pulse of this intensity."""
        return next((row.wait_s for row in self.waits if percent_mso <= row.percent_mso), self.waits[-1].wait_s)


class _Coil(_Part):
    max_coil_temperature_c: float


class _Facts(_Part):
    rapid2: _RapidFacts
    single: tuple[_SingleFacts, ...]
    single_coil: _Coil
    single_contact: Claim


@cache
def _facts() -> _Facts:
    text = files(__package__).joinpath("capability.toml").read_text(encoding="utf-8")
    return _Facts.model_validate(tomllib.loads(text))


def _refuse(problems: list[str], name: str) -> None:
    for problem in problems:
        raise NotSupported(f"{problem} ({name}).", model=name)


def _common_problems(settings: TrainSettings, record: CapabilityRecord) -> list[str]:
    problems = []
    if not 0 <= settings.percent_mso <= record.max_percent_mso:
        problems.append(f"percent_mso is {settings.percent_mso}; 0 to {record.max_percent_mso} % can be set")
    if settings.waveform not in record.waveforms:
        problems.append(f"waveform {settings.waveform} is not its {', '.join(sorted(record.waveforms))}")
    if settings.current_direction not in record.current_directions:
        problems.append(f"current_direction {settings.current_direction} cannot be chosen; turn the coil")
    return problems


@dataclass(frozen=True)
class RapidCapability:
    """The limits of a Rapid² of one unit, mains voltage and software version.

    Attributes:
        record: in the form of all makers.
        most_pulses: that one train may have.
        longest_s: duration that can be set for a train.
    """

    record: CapabilityRecord
    most_pulses: int
    longest_s: float

    def check_percent_mso(self, percent_mso: int) -> None:
        """Refuse an intensity that it does not have.

        Raises:
            NotSupported: outside 0 to its maximum.
        """
        _check_percent_mso(percent_mso, self.record)

    def check(self, settings: TrainSettings) -> None:
        """Refuse settings beyond the capability; nothing is ever changed to the nearest allowed value.

        Raises:
            NotSupported: names the setting, what is wrong and what is allowed.
        """
        problems = _common_problems(settings, self.record)
        if settings.pulses_per_burst > 1:
            problems.append(
                f"bursts of {settings.pulses_per_burst} pulses cannot be set over its serial line; use external "
                "triggers for each burst, or a stimulator with burst mode"
            )
        elif settings.stimuli > 1:
            problems += self._train_problems(settings)
        _refuse(problems, self.record.name)

    def _train_problems(self, settings: TrainSettings) -> list[str]:
        facts = _facts().rapid2
        rate_hz, problems = settings.rate_hz, []
        highest_hz = self.record.max_rate_hz(settings.percent_mso)
        tenths = rate_hz * _TENTHS_A_SECOND
        step_hz = 0.1 if rate_hz <= facts.max_tenths_rate_hz + _TOLERANCE else 1.0
        if not _LOW_RATE_HZ - _TOLERANCE <= rate_hz <= highest_hz + _TOLERANCE:
            problems.append(
                f"rate_hz is {rate_hz:g}; at {settings.percent_mso} % it is 0.1 to {highest_hz:g} pulses a second"
            )
        if not _is_whole(rate_hz / step_hz):
            problems.append(f"rate_hz is {rate_hz:g}; steps of 0.1 up to 30, then whole numbers can be set")
        if settings.stimuli > self.most_pulses:
            problems.append(f"stimuli is {settings.stimuli}; 1 to {self.most_pulses} can be set")
        if settings.duration_s > self.record.max_autonomous_s + _TOLERANCE:
            problems.append(
                f"a train of {settings.duration_s:g} s is longer than the {self.record.max_autonomous_s:g} s for which "
                "the device may run on its own; split it"
            )
        return problems + self._duration_problems(settings.stimuli, tenths) + self._energy_problems(settings)

    def _duration_problems(self, stimuli: int, tenth_hz: float) -> list[str]:
        duration_s = stimuli * _TENTHS_A_SECOND / tenth_hz
        step_s = 0.1 if duration_s <= _STEP_1_S_FROM_S else 1.0
        problems = []
        if not _is_whole(duration_s / step_s):
            problems.append(
                f"{stimuli} pulses at {tenth_hz / _TENTHS_A_SECOND:g} Hz last {duration_s:g} s; the duration is set in "
                f"steps of {step_s:g} s, so choose a number of pulses that fills one"
            )
        if duration_s > self.longest_s + _TOLERANCE:
            problems.append(f"a train of {duration_s:g} s is longer than the {self.longest_s:g} s that can be set")
        return problems

    def _energy_problems(self, settings: TrainSettings) -> list[str]:
        facts = _facts().rapid2
        joules, most = settings.stimuli * joules_of(settings.percent_mso), facts.most_joules_a_train
        if joules <= most + _TOLERANCE:
            return []
        return [f"a train of {joules:.0f} J is beyond the {most:.0f} J that one may take; make it shorter"]

    def minimum_wait_s(self, settings: TrainSettings) -> float:
        """Return ``max(0.5, n (f J - P) / (P f))``: the time in which the mean power falls to P; 1 s for one pulse."""
        facts = _facts().rapid2
        if settings.stimuli == 1:
            return facts.single_pulse_wait_s
        power_w, rate_hz = facts.mean_power_w, settings.rate_hz
        excess = settings.stimuli * (rate_hz * joules_of(settings.percent_mso) - power_w) / (power_w * rate_hz)
        return max(facts.least_wait_s, excess)


def joules_of(percent_mso: float) -> float:
    """Return the energy of one pulse of a Rapid², joules."""
    return _facts().rapid2.joules_at_full_output * (percent_mso / 100) ** 2


def longest_on_s(percent_mso: int, rate_hz: float) -> float:
    """Return the longest train at this intensity and rate, seconds."""
    return _facts().rapid2.most_joules_a_train / (rate_hz * joules_of(percent_mso))


def highest_continuous_hz(percent_mso: int) -> float:
    """Return the highest rate that can go on without end, as far as energy goes."""
    return _facts().rapid2.mean_power_w / joules_of(percent_mso)


@dataclass(frozen=True)
class SingleCapability:
    """The limits of a 200² or BiStim²: one pulse, or one pair, a start command.

    Attributes:
        record: in the form of all makers.
    """

    record: CapabilityRecord
    facts: _SingleFacts

    def check_percent_mso(self, percent_mso: int) -> None:
        """Refuse an intensity that it does not have.

        Raises:
            NotSupported: outside 0 to its maximum.
        """
        _check_percent_mso(percent_mso, self.record)

    def check(self, settings: TrainSettings) -> None:
        """Refuse settings beyond the capability.

        Raises:
            NotSupported: names the setting, what is wrong and what is allowed.
        """
        problems = _common_problems(settings, self.record)
        if settings.stimuli > 1:
            wait_s = self.facts.wait_s(settings.percent_mso)
            problems.append(
                f"stimuli is {settings.stimuli}; it gives one pulse or pair a start command. Prescribe trains of one, "
                f"at least {wait_s:g} s apart at {settings.percent_mso} %"
            )
        if settings.pulses_per_burst > 1:
            problems += self._pair_problems(settings)
        _refuse(problems, self.record.name)

    def _pair_problems(self, settings: TrainSettings) -> list[str]:
        if settings.pulses_per_burst not in self.record.pulses_per_burst:
            pairs = "pairs" if self.record.pulses_per_burst else "single pulses"
            return [f"pulses_per_burst is {settings.pulses_per_burst}; this unit gives {pairs}"]
        problems = []
        second = settings.second_percent_mso
        if second is not None and second > self.record.max_percent_mso:
            problems.append(f"second_percent_mso is {second}; 0 to {self.record.max_percent_mso} % can be set")
        try:
            pair_interval(settings.pulse_interval_s or 0.0, self.facts.longest_interval_ms)
        except ValueError as error:
            problems.append(str(error))
        return problems

    def minimum_wait_s(self, settings: TrainSettings) -> float:
        """Return the time that charging takes, by the higher intensity of a pair."""
        return self.facts.wait_s(max(settings.percent_mso, settings.second_percent_mso or 0))


MagstimCapability = RapidCapability | SingleCapability


def _check_percent_mso(percent_mso: int, record: CapabilityRecord) -> None:
    if not 0 <= percent_mso <= record.max_percent_mso:
        raise NotSupported(
            f"percent_mso is {percent_mso}; {record.name} has 0 to {record.max_percent_mso} %.", model=record.name
        )


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < _TOLERANCE * max(1.0, value)


def pair_interval(interval_s: float, longest_ms: int) -> tuple[int, bool]:
    """Return a BiStim²'s interval in its own units, and whether they are those of high resolution.

    Raises:
        ValueError: it can be set in neither.
    """
    ms = interval_s * 1_000
    if _is_whole(ms) and 1 <= round(ms) <= longest_ms:
        return round(ms), False
    if _is_whole(ms * 10) and 1 <= round(ms * 10) <= longest_ms:
        return round(ms * 10), True
    raise ValueError(
        f"pulse_interval_s is {interval_s:g}; 1 to {longest_ms} whole ms, or tenths from 0.1 to {longest_ms / 10:g} "
        "ms, can be set"
    )


@cache
def rapid_capability(unit: str, mains_v: int, version: Version) -> RapidCapability:
    """Return the capability of a Rapid².

    Args:
        unit: one of ``RAPID_UNITS``.
        mains_v: 240 or 115.
        version: of its software.

    Raises:
        NotSupported: no such unit at that voltage in ``capability.toml``.
    """
    facts = _facts().rapid2
    rows = [row for row in facts.unit if row.name == _NAMES.get(unit) and row.mains_v == mains_v]
    if not rows:
        raise NotSupported(f"A Rapid² {unit!r} at {mains_v} V has no entry in capability.toml; it may not be driven.")
    limits = [row for row in facts.range if version.major >= row.from_major][-1]
    record = CapabilityRecord(
        name=rows[0].name,
        version=str(version),
        waveforms=facts.waveforms,
        current_directions=facts.current_directions,
        max_percent_mso=facts.max_percent_mso,
        max_rate=rows[0].max_rate,
        runs_trains=True,
        has_counter=False,
        host_enforces_wait=True,
        disarms_on_lost_contact=facts.disarms_on_lost_contact,
        stops_in_mid_train=facts.stops_in_mid_train,
        max_autonomous_s=facts.max_autonomous_s,
        max_coil_temperature_c=facts.max_coil_temperature_c,
        joules_at_full_output=facts.joules_at_full_output,
        mean_power_w=facts.mean_power_w,
        cannot=facts.cannot,
        source=facts.source,
        verified=facts.verified,
    )
    return RapidCapability(record, limits.pulses, limits.duration_s)


@cache
def single_capability(name: str) -> SingleCapability:
    """Return the capability of a 200² or BiStim², by its name in ``capability.toml``.

    Raises:
        NotSupported: no such name.
    """
    rows = [row for row in _facts().single if row.name == name]
    if not rows:
        raise NotSupported(f"{name!r} has no entry in capability.toml; it may not be driven.")
    facts = rows[0]
    record = CapabilityRecord(
        name=facts.name,
        waveforms=facts.waveforms,
        current_directions=facts.current_directions,
        max_percent_mso=facts.max_percent_mso,
        max_rate=tuple(RateAnchor(percent_mso=row.percent_mso, max_rate_hz=1 / row.wait_s) for row in facts.waits),
        runs_trains=False,
        pulses_per_burst=frozenset({2} if facts.longest_interval_ms else ()),
        has_counter=False,
        host_enforces_wait=True,
        disarms_on_lost_contact=_facts().single_contact,
        stops_in_mid_train=Claim(holds=True, source="it gives no trains: nothing is under way", verified=True),
        max_autonomous_s=1.0,
        max_coil_temperature_c=_facts().single_coil.max_coil_temperature_c,
        cannot=facts.cannot,
        source=facts.source,
        verified=facts.verified,
    )
    return SingleCapability(record, facts)
