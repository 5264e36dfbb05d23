"""What is known of a MagPro from the frames heard so far, and what in them nobody asked for. Pure."""

from dataclasses import dataclass, field

from spoel_stimulation.devices.adapter import DeviceStatus
from spoel_stimulation.devices.magpro.capability import coil_name
from spoel_stimulation.devices.magpro.commands import Unreadable
from spoel_stimulation.devices.magpro.reports import (
    Amplitude,
    CoilState,
    CountersReport,
    LongStatus,
    PageState,
    Report,
    ShortStatus,
    StatusByte,
    Stimulus,
    status_byte,
)
from spoel_stimulation.devices.magpro.values import Mode, Page, Wave, page_name


@dataclass(frozen=True)
class Expected:
    """How the device must stand while staged or armed; anything else was done by somebody at the device.

    Attributes:
        second_percent_mso: of a pair's second pulse; None where there are no pairs.
        enabled: None while it is being enabled.
    """

    percent_mso: int
    second_percent_mso: int | None
    mode: Mode
    wave: Wave
    coil: int
    enabled: bool | None

    def differences(self, report: Report) -> list[str]:
        """Return in words what a report says otherwise."""
        found = []
        if isinstance(report, Amplitude) and report.a != self.percent_mso:
            found.append(f"amplitude {report.a} % instead of {self.percent_mso} %")
        if isinstance(report, ShortStatus) and report.amplitude_a != self.percent_mso:
            found.append(f"amplitude {report.amplitude_a} % instead of {self.percent_mso} %")
        second = _second_percent(report)
        if None not in {self.second_percent_mso, second} and second != self.second_percent_mso:
            found.append(f"second amplitude {second} % instead of {self.second_percent_mso} %")
        if isinstance(report, PageState) and report.page != Page.TIMING:
            found.append(f"page {page_name(report.page)} instead of timing")
        if isinstance(report, ShortStatus | CoilState) and report.coil != self.coil:
            found.append(f"coil {coil_name(report.coil)} instead of {coil_name(self.coil)}")
        status = status_byte(report)
        return found if status is None else found + self._of_status(status)

    def _of_status(self, status: StatusByte) -> list[str]:
        found = []
        if status.mode is not self.mode:
            found.append(f"mode {status.mode.name.lower()} instead of {self.mode.name.lower()}")
        if status.wave is not self.wave:
            found.append(f"waveform {status.wave.name.lower()} instead of {self.wave.name.lower()}")
        if self.enabled is not None and status.enabled != self.enabled:
            found.append("enabled at the device" if status.enabled else "disabled at the device")
        return found


def _second_percent(report: Report) -> int | None:
    if isinstance(report, Amplitude):
        return report.b
    return report.amplitude_b if isinstance(report, ShortStatus) else None


@dataclass
class View:
    """The device as last heard.

    Attributes:
        received_s: wall ``time.monotonic()`` of the last report with a status byte.
        stimulus_s: of the last stimulus.
    """

    status: StatusByte | None = None
    percent_mso: int = 0
    temperature_c: int = 0
    coil: int = 0
    page: int = 0
    received_s: float = 0.0
    stimulus_s: float | None = None

    def take(self, report: Report, now_s: float) -> None:
        """Take a report in."""
        status = status_byte(report)
        if status is not None:
            self.status, self.received_s = status, now_s
        if isinstance(report, ShortStatus):
            self.percent_mso, self.temperature_c, self.coil = report.amplitude_a, report.temperature_c, report.coil
        elif isinstance(report, Amplitude):
            self.percent_mso = report.a
        elif isinstance(report, CoilState):
            self.temperature_c, self.coil = report.temperature_c, report.coil
        elif isinstance(report, PageState | CountersReport):
            self.page = report.page
        elif isinstance(report, Stimulus):
            self.stimulus_s = now_s
        if isinstance(report, LongStatus) and not self.page:
            self.page = report.page

    def device_status(self) -> DeviceStatus | None:
        """Return what is known, None before the first status."""
        if self.status is None:
            return None
        return DeviceStatus(
            enabled=self.status.enabled,
            percent_mso=self.percent_mso,
            coil_temperature_c=self.temperature_c,
            coil_model=coil_name(self.coil),
            page=page_name(self.page),
            received_monotonic_s=self.received_s,
        )


@dataclass
class Heard:
    """What was heard of one train of ours: stimuli, begin and end, clock time UTC in nanoseconds.

    Attributes:
        didt_a_per_us: realised di/dt of each stimulus heard, ampere per microsecond.
    """

    stimuli: int = 0
    didt_a_per_us: list[int] = field(default_factory=list)
    first_onset_utc_ns: int | None = None
    ended_utc_ns: int | None = None
    running: bool = False
    lost: bool = False
    unasked: list[str] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        """The device has shown that it took the start."""
        return self.running or self.stimuli > 0 or self.ended_utc_ns is not None

    def take(self, report: Report | Unreadable, utc_ns: int) -> bool:
        """Take a report in; True if it changed anything that a follower waits for."""
        if isinstance(report, Stimulus):
            self.stimuli += 1
            self.didt_a_per_us.append(report.didt_a)
            if self.first_onset_utc_ns is None:
                self.first_onset_utc_ns = utc_ns
            return self.stimuli == 1
        if isinstance(report, PageState):
            if report.running:
                self.running = True
                return True
            if self.begun:
                self.ended_utc_ns = utc_ns
                return True
        return False
