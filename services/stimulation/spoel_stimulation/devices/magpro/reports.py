"""What a MagPro says to its host: answers, and frames that it sends unasked, as dataclasses. Pure.

``decode_report`` reads a body; ``encode`` makes one, for the simulator. Numbers of several bytes are big-endian, but
for the interval index of 09, whose low byte comes first. A body that fits nothing becomes ``Unreadable``: it is never
guessed at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from spoel_stimulation.devices.magpro.commands import Unreadable
from spoel_stimulation.devices.magpro.values import Direction, Mode, Model, Wave


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _read(body: bytes, start: int, stop: int) -> int:
    return int.from_bytes(body[start:stop], "big")


@dataclass(frozen=True)
class StatusByte:
    """The byte S that most reports carry."""

    mode: Mode
    wave: Wave
    enabled: bool
    model: Model

    def encode(self) -> int:
        """Return the byte."""
        return self.mode | self.wave << 2 | int(self.enabled) << 4 | self.model << 5

    @classmethod
    def decode(cls, value: int) -> Self:
        """Read the byte.

        Raises:
            ValueError: a model that is not known.
        """
        return cls(Mode(value & 3), Wave(value >> 2 & 3), bool(value & 16), Model(value >> 5))


@dataclass(frozen=True)
class ShortStatus:
    """00: who the device is and how it stands.

    Attributes:
        serial: three bytes.
        temperature_c: of the coil, degrees Celsius.
        coil: id of the coil type.
        amplitude_a: percent of maximum output; ``amplitude_b`` of the second pulse of Dual mode.
    """

    status: StatusByte
    serial: int
    temperature_c: int
    coil: int
    amplitude_a: int
    amplitude_b: int

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x00" + self._common()

    def _common(self) -> bytes:
        rest = bytes((self.temperature_c, self.coil, self.amplitude_a, self.amplitude_b))
        return bytes((self.status.encode(),)) + self.serial.to_bytes(3, "big") + rest


@dataclass(frozen=True)
class LongStatus(ShortStatus):
    """05: the short status, and the state of the screen.

    Attributes:
        original_a: amplitude before the factor of the Protocol page; ``original_b`` likewise.
        factor_a: that factor in percent; ``factor_b`` likewise.
        page: as shown; one client calls this byte unreliable on some units.
        running: a train or protocol runs.
    """

    original_a: int
    original_b: int
    factor_a: int
    factor_b: int
    page: int
    running: bool

    def encode(self) -> bytes:
        """Return the body."""
        own = (self.original_a, self.original_b, self.factor_a, self.factor_b, self.page, int(self.running))
        return b"\x05" + self._common() + bytes(own)


@dataclass(frozen=True)
class Amplitude:
    """01: the amplitude now, percent of maximum output; after a change by anybody, and on enabling."""

    a: int
    b: int
    status: StatusByte

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x01, self.a, self.b, self.status.encode()))


@dataclass(frozen=True)
class Stimulus:
    """02: one stimulus (a pulse, or a whole burst) was given; realised di/dt in A/µs."""

    didt_a: int
    didt_b: int
    status: StatusByte

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x02, self.didt_a, self.didt_b, self.status.encode()))


@dataclass(frozen=True)
class CoilState:
    """03: coil temperature in degrees Celsius and coil type."""

    temperature_c: int
    coil: int
    status: StatusByte

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x03, self.temperature_c, self.coil, self.status.encode()))


@dataclass(frozen=True)
class MotorResponse:
    """04: a motor evoked potential measured by the device: extremes in µV, time of the maximum in µs."""

    max_uv: int
    min_uv: int
    time_us: int

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x04" + b"".join(value.to_bytes(4, "big") for value in (self.max_uv, self.min_uv, self.time_us))


@dataclass(frozen=True)
class OriginalAmplitude:
    """06: amplitude before the factor; on the Protocol page."""

    a: int
    b: int
    status: StatusByte

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x06, self.a, self.b, self.status.encode()))


@dataclass(frozen=True)
class AmplitudeFactor:
    """07: that factor in percent; on the Protocol page."""

    a: int
    b: int
    status: StatusByte

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x07, self.a, self.b, self.status.encode()))


@dataclass(frozen=True)
class PageState:
    """08: the page shown, and whether a train runs; after a change of either."""

    page: int
    running: bool
    status: StatusByte

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x08, self.page, int(self.running), self.status.encode()))


@dataclass(frozen=True)
class WaveReport:
    """09: mode, waveform and burst.

    Attributes:
        model: wrong on an R30 (it says 88): identify by the status byte.
        burst_pulses: 2 to 5; on the wire 5 - n.
        interval_index: index into ``values.interval_table``.
        ratio_index: index of ``values.ratio_of_index``; in Dual mode the amplitude of B is 100 - index.
    """

    model: int
    mode: Mode
    direction: Direction
    wave: Wave
    burst_pulses: int
    interval_index: int
    ratio_index: int

    def encode(self) -> bytes:
        """Return the body."""
        head = bytes((0x09, 0x00, self.model, self.mode, self.direction, self.wave, 5 - self.burst_pulses))
        return head + self.interval_index.to_bytes(2, "little") + bytes((self.ratio_index,))


@dataclass(frozen=True)
class Delays:
    """0A: delays of trigger in and out in tenths of a millisecond, of charging in milliseconds."""

    trigger_in: int
    trigger_out: int
    charge_ms: int

    def encode(self) -> bytes:
        """Return the body."""
        out = self.trigger_out.to_bytes(2, "big", signed=True)
        return b"\x0a\x00" + _u16(self.trigger_in) + out + _u16(self.charge_ms)


@dataclass(frozen=True)
class Timing:
    """0B: the Timing page.

    Attributes:
        control: 0 sequence, 1 external trigger, 2 external sequence start, 3 external sequence continued.
        extended_rate: the finer scale of rates is chosen (bit 4 of the control byte).
        rate_tenth_hz: tenths of a hertz.
        pause_tenth_s: between trains, tenths of a second.
        warning: sound before each train.
        ramp_percent: amplitude of the first train in percent of the set one; a host cannot set it.
        ramp_trains: trains over which it rises to 100 %.
    """

    control: int
    extended_rate: bool
    rate_tenth_hz: int
    pulses: int
    trains: int
    pause_tenth_s: int
    warning: bool
    ramp_percent: int
    ramp_trains: int

    def encode(self) -> bytes:
        """Return the body."""
        control = self.control | int(self.extended_rate) << 4
        numbers = _u16(self.rate_tenth_hz) + _u16(self.pulses) + _u16(self.trains) + _u16(self.pause_tenth_s)
        tail = bytes((int(self.warning), self.ramp_percent, self.ramp_trains))
        return bytes((0x0B, 0x00, control)) + numbers + tail


@dataclass(frozen=True)
class CountersReport:
    """0C: counters and page.

    Sources agree on the places of these bytes, not on their meaning: one client reads ``total_pulses`` as the pulses
    that the Timing page plans. Not tried on hardware; whoever uses the number must check it against the frames heard.

    Attributes:
        trains: two bytes.
        total_pulses: three bytes.
        stimuli: two bytes; bursts count one.
        page: as shown.
    """

    trains: int
    total_pulses: int
    stimuli: int
    page: int

    def encode(self) -> bytes:
        """Return the body."""
        numbers = _u16(self.trains) + b"\x00" + self.total_pulses.to_bytes(3, "big") + b"\x00" + _u16(self.stimuli)
        return b"\x0c\x00" + numbers + bytes((0, 0, self.page))


Report = (
    ShortStatus
    | LongStatus
    | Amplitude
    | Stimulus
    | CoilState
    | MotorResponse
    | OriginalAmplitude
    | AmplitudeFactor
    | PageState
    | WaveReport
    | Delays
    | Timing
    | CountersReport
)

_COUNTER_MODULI = {"trains": 1 << 16, "pulses": 1 << 24, "stimuli": 1 << 16}


def counter_step(name: str, before: int, after: int) -> int:
    """Return how far a counter (``trains``, ``pulses``, ``stimuli``) moved on, past its overflow if need be."""
    return (after - before) % _COUNTER_MODULI[name]


def _short_status(body: bytes) -> ShortStatus:
    return ShortStatus(StatusByte.decode(body[1]), _read(body, 2, 5), *body[5:9])


def _long_status(body: bytes) -> LongStatus:
    temperature_c, coil, amplitude_a, amplitude_b, original_a, original_b, factor_a, factor_b, page = body[5:14]
    return LongStatus(
        StatusByte.decode(body[1]),
        _read(body, 2, 5),
        temperature_c,
        coil,
        amplitude_a,
        amplitude_b,
        original_a=original_a,
        original_b=original_b,
        factor_a=factor_a,
        factor_b=factor_b,
        page=page,
        running=bool(body[14]),
    )


def _wave(body: bytes) -> WaveReport:
    model, mode, direction, wave, burst = body[2:7]
    index = int.from_bytes(body[7:9], "little")
    return WaveReport(model, Mode(mode), Direction(direction), Wave(wave), 5 - burst, index, body[9])


def _delays(body: bytes) -> Delays:
    return Delays(_read(body, 2, 4), int.from_bytes(body[4:6], "big", signed=True), _read(body, 6, 8))


def _timing(body: bytes) -> Timing:
    return Timing(
        control=body[2] & 15,
        extended_rate=bool(body[2] & 16),
        rate_tenth_hz=_read(body, 3, 5),
        pulses=_read(body, 5, 7),
        trains=_read(body, 7, 9),
        pause_tenth_s=_read(body, 9, 11),
        warning=bool(body[11]),
        ramp_percent=body[12],
        ramp_trains=body[13],
    )


def _counters(body: bytes) -> CountersReport:
    return CountersReport(_read(body, 2, 4), _read(body, 5, 8), _read(body, 9, 11), body[13])


_DECODERS: dict[int, tuple[int, int, Callable[[bytes], Report]]] = {
    0x00: (9, 9, _short_status),
    0x01: (4, 4, lambda body: Amplitude(body[1], body[2], StatusByte.decode(body[3]))),
    0x02: (4, 4, lambda body: Stimulus(body[1], body[2], StatusByte.decode(body[3]))),
    0x03: (4, 4, lambda body: CoilState(body[1], body[2], StatusByte.decode(body[3]))),
    0x04: (13, 13, lambda body: MotorResponse(_read(body, 1, 5), _read(body, 5, 9), _read(body, 9, 13))),
    0x05: (15, 15, _long_status),
    0x06: (4, 4, lambda body: OriginalAmplitude(body[1], body[2], StatusByte.decode(body[3]))),
    0x07: (4, 4, lambda body: AmplitudeFactor(body[1], body[2], StatusByte.decode(body[3]))),
    0x08: (4, 4, lambda body: PageState(body[1], bool(body[2]), StatusByte.decode(body[3]))),
    0x09: (10, 10, _wave),
    0x0A: (8, 16, _delays),
    0x0B: (14, 24, _timing),
    0x0C: (14, 24, _counters),
}
"""By id: shortest and longest body. The length of 0A, 0B and 0C is in no source, only the places of their fields."""


def decode_report(body: bytes) -> Report | Unreadable:
    """Read a device's body; ``Unreadable`` where id, length or a value is not of the protocol."""
    if not body or body[0] not in _DECODERS:
        return Unreadable(body)
    shortest, longest, decoder = _DECODERS[body[0]]
    if not shortest <= len(body) <= longest:
        return Unreadable(body)
    try:
        return decoder(body)
    except ValueError:
        return Unreadable(body)


def status_byte(report: Report) -> StatusByte | None:
    """Return the status byte of a report, if its kind has one."""
    return getattr(report, "status", None)
