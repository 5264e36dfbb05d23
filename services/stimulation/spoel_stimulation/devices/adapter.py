"""What the rest of Spoel sees of a stimulator, whoever made it.

The protocol follows the life of one train on a device that runs trains by itself: *stage* (write every setting, read
every one back), *arm*, *run_train* (one start command, then follow), *disarm*. Set point, read-back and what was
realised are three different things and stay three different fields.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spoel_common.errors import SpoelError
from spoel_stimulation.engine.pattern import PULSES_OF_A_PAIR, Pattern

Waveform = Literal["biphasic", "monophasic", "halfsine"]
CurrentDirection = Literal["normal", "reverse"]
Setting = str | int | float | bool


class DeviceError(SpoelError):
    """Something between the host and its stimulator went wrong."""

    slug = "device-error"
    status = 502
    title = "The stimulator did not do what was asked"


class LinkLost(DeviceError):
    """The connection to the stimulator is gone, or it does not answer: look at the cable and at its power."""

    slug = "device-link-lost"
    status = 503
    title = "No connection to the stimulator"


class RefusedByDevice(DeviceError):
    """The stimulator answered and did not do it: look at its screen."""

    slug = "device-refused"
    status = 409
    title = "Refused by the stimulator"


class BadChecksum(DeviceError):
    """What arrives from the stimulator is damaged: look at cable, earth and port settings."""

    slug = "device-bad-checksum"
    title = "Damaged answer from the stimulator"


class OutcomeUnknown(DeviceError):
    """A command with an effect on the patient was sent, and what came of it is not known. It is never repeated."""

    slug = "device-outcome-unknown"
    title = "Outcome unknown"


class SettingNotTaken(DeviceError):
    """A setting reads back otherwise than it was written: the device is not to be armed."""

    slug = "device-setting-not-taken"
    status = 409
    title = "The stimulator did not take a setting"


class NotSupported(DeviceError):
    """Beyond what this stimulator can do, or may be asked to do: change the order."""

    slug = "device-not-supported"
    status = 422
    title = "Beyond the stimulator's capability"


class NotReady(DeviceError):
    """Asked for in the wrong order (run before arm, arm before stage), or the device's state is stale."""

    slug = "device-not-staged"
    status = 409
    title = "The stimulator is not ready for this"


class InterlockOpen(DeviceError):
    """The stimulator or its coil is not fit to stimulate: too hot, no coil, its switch open. Look at the coil."""

    slug = "device-interlock-open"
    status = 409
    title = "An interlock of the stimulator is open"


class NotAllowed(DeviceError):
    """This device may not be used here: a simulator on a clinical site, a fast clock, another unit than expected."""

    slug = "device-not-allowed"
    status = 409
    title = "This stimulator may not be used here"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DeviceIdentity(_Model):
    """Who answered.

    Attributes:
        model: for example ``MagPro X100+Option``.
        serial: serial number as text; ``SIM-…`` for a simulator.
        coil_model: for example ``Cool-B65``; ``none`` where the device reports none.
        simulated: a simulator answered.
    """

    model: str
    serial: str
    coil_model: str
    simulated: bool


class TrainSettings(_Model):
    """Everything that one start command depends on. The device's own number of trains is always 1.

    Attributes:
        waveform: of each pulse.
        current_direction: as the maker names it.
        pulses_per_burst: 1 for single pulses.
        pulse_interval_s: onset to onset within a burst; None for single pulses.
        rate_hz: bursts, or single pulses, a second.
        stimuli: bursts, or single pulses, in the train.
        percent_mso: percent of maximum stimulator output.
        second_percent_mso: of the second pulse of a pair, where it has an intensity of its own; None: the same.
    """

    waveform: Waveform = "biphasic"
    current_direction: CurrentDirection = "normal"
    pulses_per_burst: int = Field(default=1, ge=1)
    pulse_interval_s: float | None = Field(default=None, gt=0)
    rate_hz: float = Field(gt=0)
    stimuli: int = Field(ge=1)
    percent_mso: int = Field(ge=0)
    second_percent_mso: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check_burst(self) -> Self:
        if self.second_percent_mso is not None and self.pulses_per_burst != PULSES_OF_A_PAIR:
            raise ValueError("second_percent_mso is given for pairs only: pulses_per_burst is 2")
        if (self.pulses_per_burst == 1) != (self.pulse_interval_s is None):
            raise ValueError("pulse_interval_s is given exactly where pulses_per_burst is 2 or more")
        return self

    @classmethod
    def of_pattern(
        cls, pattern: Pattern, percent_mso: int, waveform: Waveform, current_direction: CurrentDirection
    ) -> Self:
        """Return the settings for one train of ``pattern``."""
        return cls(
            waveform=waveform,
            current_direction=current_direction,
            pulses_per_burst=pattern.pulses_per_burst,
            pulse_interval_s=pattern.pulse_interval_s,
            rate_hz=round(pattern.rate_hz, 6),
            stimuli=pattern.bursts_per_train,
            percent_mso=percent_mso,
        )

    def at(self, percent_mso: int) -> Self:
        """Return the same train at another intensity."""
        return self.model_copy(update={"percent_mso": percent_mso})

    @property
    def pulses(self) -> int:
        """Pulses that one start command causes."""
        return self.stimuli * self.pulses_per_burst

    @property
    def duration_s(self) -> float:
        """Seconds from the first pulse's onset to the last's."""
        return (self.stimuli - 1) / self.rate_hz + (self.pulses_per_burst - 1) * (self.pulse_interval_s or 0.0)


class ReadBack(_Model):
    """What was written and what the device says it has, under the same names."""

    set_point: dict[str, Setting]
    read_back: dict[str, Setting]


class DeviceStatus(_Model):
    """The device's last word about itself.

    Attributes:
        percent_mso: the set point as the device tells it.
        coil_temperature_c: None where the device does not tell one.
        coil_model: ``none`` where no coil is plugged in.
        page: what its screen shows, for example ``timing``; empty for devices without pages.
        received_monotonic_s: ``time.monotonic()`` of the wall when the newest part of it arrived.
    """

    enabled: bool
    percent_mso: int
    coil_temperature_c: float | None
    coil_model: str
    page: str
    received_monotonic_s: float


class Counters(_Model):
    """The device's own counters; not every device has them.

    Attributes:
        trains: trains, as its screen counts them.
        pulses: pulses since it was made; survives power-off.
        stimuli: bursts or single pulses since power-on.
    """

    trains: int
    pulses: int
    stimuli: int


class Realised(_Model):
    """The output of a train as the device measured it, beside set point and read-back (INV-2).

    Attributes:
        quantity: what was measured: the coil current's steepest rise, ampere per microsecond.
        stimuli: measurements.
        lowest: of them; ``mean`` and ``highest`` likewise.
    """

    quantity: Literal["didt_a_per_us"] = "didt_a_per_us"
    stimuli: int = Field(ge=1)
    lowest: float
    mean: float
    highest: float

    @classmethod
    def of(cls, measured: Sequence[float]) -> Self | None:
        """Return the summary of what was measured; None where nothing was."""
        if not measured:
            return None
        return cls(
            stimuli=len(measured),
            lowest=min(measured),
            mean=round(sum(measured) / len(measured), 3),
            highest=max(measured),
        )


class TrainResult(_Model):
    """How one start command ended.

    Attributes:
        outcome: ``none``, ``partial`` and ``complete`` are known from evidence; ``unknown`` is not, and counts as
            delivered for every maximum and as not delivered for every minimum.
        pulses: delivered; None where unknown.
        counters_before: None on a device without counters, as is ``counters_after``.
        evidence: what the number rests on; None where unknown. ``status`` is the device's word that it began and ended
            the train, without a counter to compare with; ``operator`` a person's reading of the device's own counter.
        reason: why it is not complete, in words.
        first_onset_utc_ns: clock time at which the first stimulus was heard of.
        ended_utc_ns: clock time at which the end was heard of.
        realised: what the device says that it gave; None where it does not tell.
    """

    outcome: Literal["complete", "partial", "none", "unknown"]
    pulses: int | None
    counters_before: Counters | None
    counters_after: Counters | None
    evidence: Literal["frames-and-counter", "counter", "status", "operator"] | None
    reason: str = ""
    first_onset_utc_ns: int | None = None
    ended_utc_ns: int | None = None
    realised: Realised | None = None


class Unasked(_Model):
    """Something that the device did and nobody here asked for.

    Attributes:
        kind: ``pulse`` outside a train of ours; ``change`` of a setting while staged or armed; ``link-lost``.
        detail: what, in words, for the room's record.
        pulses: how many, by the device's counter if it could be read, else by the frames heard (at least).
        device_total_pulses: the device's counter afterwards, if it could be read.
        disarmed: the device was read back as disabled afterwards.
    """

    kind: Literal["pulse", "change", "link-lost"]
    detail: str
    pulses: int = 0
    device_total_pulses: int | None = None
    disarmed: bool = False


class Stimulator(Protocol):
    """One stimulator. All waits have a time-out, in wall time."""

    unasked: asyncio.Queue[Unasked]

    @property
    def identity(self) -> DeviceIdentity | None:
        """Who answered at the last ``connect``."""

    @property
    def status(self) -> DeviceStatus | None:
        """The last status heard; old if the device is silent: see ``received_monotonic_s``."""

    @property
    def last_stimulus_monotonic_s(self) -> float | None:
        """``time.monotonic()`` of the wall when the last stimulus was heard of, ours or not."""

    async def connect(self) -> DeviceIdentity:
        """Open the link, disarm the device, ask who it is, and begin to follow its status.

        Raises:
            LinkLost: nobody answers.
            NotSupported: an unknown model.
            NotAllowed: a clock or site on which this device may not be used (HZ-25).
        """

    async def stage(self, settings: TrainSettings) -> ReadBack:
        """Disable the device, write **every** setting and read every one back.

        Raises:
            NotSupported: beyond the capability; nothing was written.
            SettingNotTaken: one reads back otherwise.
            LinkLost: no answer.
        """

    async def arm(self) -> None:
        """Enable the device; returns when its status says so and the staged settings still stand.

        Raises:
            NotReady: nothing is staged.
            RefusedByDevice: it stays disabled.
            InterlockOpen: it says that its coil is missing, too hot or not in order.
        """

    async def change_percent_mso(self, percent_mso: int) -> ReadBack:
        """Set another intensity and read it back; staged or armed, never during a train.

        Raises:
            NotSupported: outside the capability; nothing was written.
            SettingNotTaken: it reads back otherwise; the device was disarmed.
        """

    async def run_train(self, settings: TrainSettings) -> TrainResult:
        """Send **one** start command and follow it to its end. Never repeats it.

        Raises:
            NotReady: not armed, other settings than the staged ones, stale status; nothing was sent.
            LinkLost: the counters could not be read before the start; nothing was sent.
        """

    async def disarm(self) -> bool:
        """Disable, repeated until the device says so or 2 s have passed; True if it was read back. Never raises."""

    async def counters(self) -> Counters | None:
        """Ask the device's counters; None where this device has none.

        Raises:
            LinkLost: no answer.
        """

    async def refresh_status(self) -> DeviceStatus:
        """Ask the device's status.

        Raises:
            LinkLost: no answer.
        """

    async def close(self) -> None:
        """Disarm if the link is alive, and close it. Never raises."""
