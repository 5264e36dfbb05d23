"""What a model of stimulator can do, as data: the *capability record*, the same shape for every maker. Pure.

A maker's folder has a ``capability.toml`` and builds one record a model and version from it. Whatever nobody tried on
hardware says ``verified = false``, and whoever relies on it is shown that.
"""

from datetime import date
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from spoel_stimulation.devices.adapter import CurrentDirection, TrainSettings, Waveform

LONGEST_VERIFIED_S = 60.0
"""Longest train that a unit may run alone whose stop in mid-train was verified: continuous theta burst lasts 40 s."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Claim(_Part):
    """Something that is said of a device.

    Attributes:
        holds: whether it is so.
        source: who says so.
        verified: somebody tried it on hardware, or compared it with the unit's manual.
    """

    holds: bool
    source: str
    verified: bool


class RateAnchor(_Part):
    """The highest rate at one intensity.

    Attributes:
        percent_mso: percent of maximum stimulator output.
        max_rate_hz: pulses a second.
    """

    percent_mso: int = Field(ge=0)
    max_rate_hz: float = Field(gt=0)


class CapabilityRecord(_Part):
    """One model, in one version of its software where that matters.

    Attributes:
        name: of the model, as ``DeviceIdentity.model`` gives it.
        version: of its software, empty where that makes no difference.
        waveforms: that it can give.
        current_directions: that can be chosen.
        max_percent_mso: highest set point.
        max_rate: anchors in rising intensity; between two the rate of the higher intensity holds (rounded down).
        runs_trains: one start command gives a whole train, timed by the device; otherwise the host times each pulse.
        pulses_per_burst: sizes of burst that it gives by itself; empty where it has no bursts.
        has_counter: it tells how many pulses it has given.
        host_enforces_wait: the pause after a train is not kept by the device: too short a one damages it.
        disarms_on_lost_contact: it disables itself when its host falls silent.
        stops_in_mid_train: a disarm ends a train that is under way.
        max_autonomous_s: longest train, from first to last pulse, that it may run on its own (INV-11).
        joules_at_full_output: energy of a pulse at 100 %, which goes with the square of the intensity; None: unknown.
        mean_power_w: highest mean power; None where unknown.
        max_coil_temperature_c: at which it locks its output; None: not known, the room's own limit holds.
        cannot: what it cannot do and people ask for, in words.
        source: where the numbers come from.
        verified: somebody compared them with the unit's manual.
    """

    name: str
    version: str = ""
    waveforms: frozenset[Waveform]
    current_directions: frozenset[CurrentDirection]
    max_percent_mso: int
    max_rate: tuple[RateAnchor, ...]
    runs_trains: bool
    pulses_per_burst: frozenset[int] = frozenset()
    has_counter: bool
    host_enforces_wait: bool
    disarms_on_lost_contact: Claim
    stops_in_mid_train: Claim
    max_autonomous_s: float
    joules_at_full_output: float | None = None
    mean_power_w: float | None = None
    max_coil_temperature_c: float | None = None
    cannot: tuple[str, ...] = ()
    source: str
    verified: bool

    def max_rate_hz(self, percent_mso: int) -> float:
        """Return the highest rate at an intensity, pulses a second; that of the next higher anchor."""
        for anchor in self.max_rate:
            if percent_mso <= anchor.percent_mso:
                return anchor.max_rate_hz
        return self.max_rate[-1].max_rate_hz

    @property
    def surely_ends_alone(self) -> bool:
        """A train ends without its host, or at its disarm, and somebody tried that on this unit (INV-11)."""
        claims = (self.disarms_on_lost_contact, self.stops_in_mid_train)
        return any(claim.holds and claim.verified for claim in claims)


class StopVerified(_Part):
    """That somebody saw a disarm end a train under way, on one unit: then its trains may be longer (INV-11).

    Attributes:
        serial: of the unit.
        verified_by: who saw it.
        verified_on: when.
    """

    serial: str = Field(min_length=1, max_length=40)
    verified_by: str = Field(min_length=1, max_length=100)
    verified_on: date

    def of(self, record: CapabilityRecord) -> CapabilityRecord:
        """Return the record of the unit for which this holds."""
        source = f"tried on {self.serial} by {self.verified_by} on {self.verified_on}"
        claim = Claim(holds=True, source=source, verified=True)
        return record.model_copy(update={"stops_in_mid_train": claim, "max_autonomous_s": LONGEST_VERIFIED_S})


class Capability(Protocol):
    """What a connected device may be asked for."""

    @property
    def record(self) -> CapabilityRecord:
        """The record of its model."""

    def check(self, settings: TrainSettings) -> None:
        """Refuse settings beyond it; nothing is sent.

        Raises:
            NotSupported: says what is beyond, and what is allowed.
        """

    def check_percent_mso(self, percent_mso: int) -> None:
        """Refuse an intensity that the device does not have.

        Raises:
            NotSupported: as it says.
        """

    def minimum_wait_s(self, settings: TrainSettings) -> float:
        """Return the seconds that the host has to wait from a train's last pulse to the next train; 0 where none."""
