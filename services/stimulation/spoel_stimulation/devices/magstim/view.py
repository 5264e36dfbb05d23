"""What is known of a Magstim from the answers heard so far, and what in them nobody asked for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spoel_stimulation.devices.adapter import DeviceStatus, Setting
from spoel_stimulation.devices.magstim.messages import Answer, Instrument, Rapid, Temperatures
from spoel_stimulation.devices.magstim.staging import differences

NO_COIL = "none"
TOO_HOT_C = 40.0
_STATE_BEFORE = "E"
"""Answers to arm, disarm and fire tell the state before them, which is over."""


@dataclass
class View:
    """The device as last heard.

    Attributes:
        coil_model: what the site says is plugged in; the device tells only whether there is a coil.
        received_s: wall ``time.monotonic()`` of the last answer with the state of now.
    """

    coil_model: str = "unknown"
    instrument: Instrument | None = None
    rapid: Rapid | None = None
    percent_mso: int = 0
    temperature_c: float | None = None
    received_s: float = 0.0

    def take(self, answer: Answer, settings: Mapping[str, Setting], now_s: float) -> None:
        """Take an answer in, and the settings that it tells of."""
        if answer.letter == _STATE_BEFORE:
            return
        self.instrument, self.received_s = answer.instrument, now_s
        self.rapid = self.rapid if answer.rapid is None else answer.rapid
        if "percent_mso" in settings:
            self.percent_mso = int(settings["percent_mso"])
        temperatures = Temperatures.read(answer.data) if answer.letter == "F" else None
        if temperatures is not None:
            self.temperature_c = temperatures.warmest_c

    @property
    def enabled(self) -> bool:
        """Armed, whether ready or not."""
        return self.instrument is not None and self.instrument.enabled

    @property
    def ready(self) -> bool:
        """Ready to fire, and no train under way."""
        return self.instrument is not None and bool(self.instrument & Instrument.READY) and not self.running

    @property
    def running(self) -> bool:
        """A Rapid² says that a train is under way."""
        return self.rapid is not None and bool(self.rapid & Rapid.TRAIN_RUNNING)

    def interlocks(self) -> list[str]:
        """Return in words why the device, or its coil, is in no state to stimulate."""
        instrument = self.instrument or Instrument(0)
        found = []
        if not instrument & Instrument.COIL_PRESENT:
            found.append("no coil is plugged in")
        if instrument & Instrument.REPLACE_COIL:
            found.append("it asks for another coil")
        if instrument & Instrument.ERROR_PRESENT:
            found.append("it shows an error")
        if self.temperature_c is not None and self.temperature_c > TOO_HOT_C:
            found.append(f"the coil has {self.temperature_c:g} °C, more than {TOO_HOT_C:g}")
        if self.rapid is not None and not self.rapid & Rapid.COIL_READY:
            found.append("its coil is not ready")
        return found

    def device_status(self) -> DeviceStatus | None:
        """Return what is known, None before the first answer."""
        if self.instrument is None:
            return None
        return DeviceStatus(
            enabled=self.enabled,
            percent_mso=self.percent_mso,
            coil_temperature_c=self.temperature_c,
            coil_model=self.coil_model if self.instrument & Instrument.COIL_PRESENT else NO_COIL,
            page="",
            received_monotonic_s=self.received_s,
        )


@dataclass(frozen=True)
class Expected:
    """How the device must stand while staged or armed; anything else was done by somebody at the device.

    Attributes:
        settings: as they were written.
        enabled: None while it is being armed.
    """

    settings: Mapping[str, Setting]
    enabled: bool | None

    def differences(self, view: View, settings: Mapping[str, Setting]) -> list[str]:
        """Return in words what an answer says otherwise."""
        found = differences(self.settings, settings, whole=False)
        if self.enabled is not None and view.enabled != self.enabled:
            found.append("armed at the device" if view.enabled else self._why_disarmed(view))
        return found

    @staticmethod
    def _why_disarmed(view: View) -> str:
        reasons = view.interlocks()
        return (
            f"the device disarmed itself: {'; '.join(reasons)}" if reasons else "disarmed at the device, or by itself"
        )


@dataclass
class Heard:
    """What was heard of one start command of ours; moments are clock time UTC in nanoseconds.

    Attributes:
        begun: the device showed that it gives, or gave, pulses: a train running, or its charge gone.
        ran: a train was seen running.
        quiet_utc_ns: it had begun, and no train was running.
        ready_utc_ns: it was ready again.
        stopped: it was heard to be disarmed.
    """

    begun: bool = False
    ran: bool = False
    quiet_utc_ns: int | None = None
    ready_utc_ns: int | None = None
    stopped: bool = False
    lost: bool = False
    unasked: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Nothing more is to be heard of it."""
        return self.lost or self.stopped or self.ready_utc_ns is not None

    def take(self, view: View, utc_ns: int) -> None:
        """Take the device's state in."""
        if self.over:
            return
        self.stopped = not view.enabled
        self.begun = self.begun or (view.enabled and not view.ready)
        if view.running:
            self.ran, self.quiet_utc_ns = True, None
        elif self.begun and self.quiet_utc_ns is None:
            self.quiet_utc_ns = utc_ns
        if self.begun and view.ready:
            self.ready_utc_ns = utc_ns
