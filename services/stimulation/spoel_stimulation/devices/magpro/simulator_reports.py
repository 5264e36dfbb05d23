"""What a simulated MagPro tells of itself. Pure: from what it is at the moment to the report that says so."""

from typing import Protocol

from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.simulator_coil import SimulatedCoil
from spoel_stimulation.devices.magpro.simulator_state import Counts, Settings
from spoel_stimulation.devices.magpro.values import Model

_FULL_FACTOR = 100


class Telling(Protocol):
    """What a device has to be asked for.

    Attributes:
        settings: what it remembers.
        enabled: it gives pulses.
        coil: in its socket.
        serial_number: as it goes over the wire.
    """

    settings: Settings
    enabled: bool
    coil: SimulatedCoil
    serial_number: int

    @property
    def model(self) -> Model:
        """Which MagPro."""

    @property
    def running(self) -> bool:
        """A train is under way."""

    @property
    def counts(self) -> Counts:
        """What it has counted."""


class Reports:
    """The reports of one device.

    Args:
        device: which.
    """

    def __init__(self, device: Telling) -> None:
        self._device = device

    def status(self) -> say.StatusByte:
        """Return the status byte, which most frames carry."""
        settings = self._device.settings
        return say.StatusByte(settings.mode, settings.wave, self._device.enabled, self._device.model)

    def amplitude(self) -> say.Amplitude:
        """Return the amplitudes."""
        return say.Amplitude(self._device.settings.amplitude_a, self._device.settings.amplitude_b, self.status())

    def coil(self) -> say.CoilState:
        """Return the coil's kind and temperature."""
        return say.CoilState(self._device.coil.temperature_c(), self._coil_kind(), self.status())

    def page(self) -> say.PageState:
        """Return the page shown, and whether a train is under way."""
        return say.PageState(self._device.settings.page, self._device.running, self.status())

    def stimulus(self, didt: int) -> say.Stimulus:
        """Return what is told of a stimulus; ``didt`` in A/µs."""
        return say.Stimulus(didt, 0, self.status())

    def short_status(self) -> say.ShortStatus:
        """Return the answer to 00."""
        settings = self._device.settings
        return say.ShortStatus(
            self.status(),
            self._device.serial_number,
            self._device.coil.temperature_c(),
            self._coil_kind(),
            settings.amplitude_a,
            settings.amplitude_b,
        )

    def long_status(self) -> say.LongStatus:
        """Return the answer to 05."""
        settings = self._device.settings
        a, b = settings.amplitude_a, settings.amplitude_b
        return say.LongStatus(
            self.status(),
            self._device.serial_number,
            self._device.coil.temperature_c(),
            self._coil_kind(),
            a,
            b,
            original_a=a,
            original_b=b,
            factor_a=_FULL_FACTOR,
            factor_b=_FULL_FACTOR,
            page=settings.page,
            running=self._device.running,
        )

    def wave(self) -> say.WaveReport:
        """Return the answer to a read of 09."""
        return self._device.settings.wave_report(self._device.model)

    def delays(self) -> say.Delays:
        """Return the answer to a read of 0A."""
        return self._device.settings.delays

    def timing(self) -> say.Timing:
        """Return the answer to a read of 0B."""
        return self._device.settings.timing

    def counters(self) -> say.CountersReport:
        """Return the answer to 0C: counters turn over where the wire has no more room."""
        counts = self._device.counts
        return say.CountersReport(
            counts.trains & 0xFFFF, counts.pulses & 0xFFFFFF, counts.stimuli & 0xFFFF, self._device.settings.page
        )

    def _coil_kind(self) -> int:
        return self._device.coil.kind(self._device.settings.coil)
