"""What a host says to a MagPro: bodies of frames 00 to 0C as dataclasses, both ways. Pure.

``encode`` makes the body; ``decode_command`` reads it, for the simulator. Numbers of two bytes are big-endian. A body
that fits nothing becomes ``Unreadable``: it is never guessed at.
"""

from collections.abc import Callable
from dataclasses import dataclass

from spoel_stimulation.devices.magpro.values import Direction, Mode, Model, Wave


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _read_u16(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 2], "big")


def _read_s16(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 2], "big", signed=True)


@dataclass(frozen=True)
class Unreadable:
    """A body with an unknown id, length or value; ids F0 and F1 were seen in the field, their meaning is unknown."""

    body: bytes


@dataclass(frozen=True)
class AskStatus:
    """00: short status."""

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x00"


@dataclass(frozen=True)
class SetAmplitude:
    """01: amplitude in percent of maximum output; ``b`` only for the second pulse of Dual mode."""

    a: int
    b: int | None = None

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x01, self.a)) if self.b is None else bytes((0x01, self.a, self.b))


@dataclass(frozen=True)
class SetEnabled:
    """02: enable or disable."""

    enabled: bool

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x02, int(self.enabled)))


@dataclass(frozen=True)
class FirePulse:
    """03: one pulse, or one burst; MAGIC sends a byte 01 behind it, others do not."""

    with_one: bool = False

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x03\x01" if self.with_one else b"\x03"


@dataclass(frozen=True)
class FireTrain:
    """04: start the train of the Timing page (or the protocol of the Protocol page)."""

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x04"


@dataclass(frozen=True)
class AskLongStatus:
    """05: long status."""

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x05"


@dataclass(frozen=True)
class SetTrain:
    """06: train set-up in short; nothing is answered.

    Attributes:
        rate_tenth_hz: tenths of a hertz.
        pause_tenth_s: between trains, tenths of a second.
    """

    rate_tenth_hz: int
    pulses: int
    trains: int
    pause_tenth_s: int

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x06" + _u16(self.rate_tenth_hz) + _u16(self.pulses) + _u16(self.trains) + _u16(self.pause_tenth_s)


@dataclass(frozen=True)
class SetPage:
    """07: show another page."""

    page: int

    def encode(self) -> bytes:
        """Return the body."""
        return bytes((0x07, self.page, 0x00))


@dataclass(frozen=True)
class SetDelaysShort:
    """08: delays, older form, nothing is answered; tenths of a millisecond, charge delay in milliseconds."""

    trigger_in: int
    trigger_out: int
    charge_ms: int

    def encode(self) -> bytes:
        """Return the body."""
        out = self.trigger_out.to_bytes(2, "big", signed=True)
        return b"\x08" + _u16(self.trigger_in) + out + _u16(self.charge_ms) + b"\x00\x00"


@dataclass(frozen=True)
class AskWave:
    """09 00: read mode, waveform and burst; some clients pad it with nine zeros."""

    padded: bool = False

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x09\x00" + (bytes(9) if self.padded else b"")


@dataclass(frozen=True)
class SetWave:
    """09 01: write mode, waveform and burst. The write is **not** answered.

    Attributes:
        burst_pulses: 2 to 5; on the wire 5 - n.
        interval_tenth_ms: between pulses of a burst, tenths of a millisecond.
        ratio_hundredths: B/A ratio in hundredths.
    """

    model: Model
    mode: Mode
    direction: Direction
    wave: Wave
    burst_pulses: int
    interval_tenth_ms: int
    ratio_hundredths: int

    def encode(self) -> bytes:
        """Return the body."""
        head = bytes((0x09, 0x01, self.model, self.mode, self.direction, self.wave, 5 - self.burst_pulses))
        return head + _u16(self.interval_tenth_ms) + _u16(self.ratio_hundredths)


@dataclass(frozen=True)
class AskDelays:
    """0A 00: read the delays."""

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x0a\x00"


@dataclass(frozen=True)
class SetDelays:
    """0A 01: write the delays; units as in ``SetDelaysShort``."""

    trigger_in: int
    trigger_out: int
    charge_ms: int

    def encode(self) -> bytes:
        """Return the body."""
        out = self.trigger_out.to_bytes(2, "big", signed=True)
        return b"\x0a\x01" + _u16(self.trigger_in) + out + _u16(self.charge_ms)


@dataclass(frozen=True)
class AskTiming:
    """0B 00: read the Timing page."""

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x0b\x00"


@dataclass(frozen=True)
class SetTiming:
    """0B 01: write the Timing page.

    Attributes:
        control: 0 sequence, 1 external trigger, 2 external sequence start, 3 external sequence continued.
        warning: sound before each train.
    """

    control: int
    rate_tenth_hz: int
    pulses: int
    trains: int
    pause_tenth_s: int
    warning: bool

    def encode(self) -> bytes:
        """Return the body."""
        numbers = _u16(self.rate_tenth_hz) + _u16(self.pulses) + _u16(self.trains) + _u16(self.pause_tenth_s)
        return bytes((0x0B, 0x01, self.control)) + numbers + bytes((int(self.warning),))


@dataclass(frozen=True)
class AskCounters:
    """0C 00: read page and counters."""

    def encode(self) -> bytes:
        """Return the body."""
        return b"\x0c\x00"


Command = (
    AskStatus
    | SetAmplitude
    | SetEnabled
    | FirePulse
    | FireTrain
    | AskLongStatus
    | SetTrain
    | SetPage
    | SetDelaysShort
    | AskWave
    | SetWave
    | AskDelays
    | SetDelays
    | AskTiming
    | SetTiming
    | AskCounters
)


def _decode_wave(body: bytes) -> Command:
    if body[1] == 0:
        return AskWave(padded=True)
    model, mode, direction, wave, burst = body[2:7]
    return SetWave(
        Model(model), Mode(mode), Direction(direction), Wave(wave), 5 - burst, _read_u16(body, 7), _read_u16(body, 9)
    )


def _decode_delays(body: bytes) -> Command:
    return SetDelays(_read_u16(body, 2), _read_s16(body, 4), _read_u16(body, 6))


def _decode_timing(body: bytes) -> Command:
    return SetTiming(
        control=body[2],
        rate_tenth_hz=_read_u16(body, 3),
        pulses=_read_u16(body, 5),
        trains=_read_u16(body, 7),
        pause_tenth_s=_read_u16(body, 9),
        warning=bool(body[11]),
    )


_DECODERS: dict[tuple[int, int], Callable[[bytes], Command]] = {
    (0x00, 1): lambda _body: AskStatus(),
    (0x01, 2): lambda body: SetAmplitude(body[1]),
    (0x01, 3): lambda body: SetAmplitude(body[1], body[2]),
    (0x02, 2): lambda body: SetEnabled(bool(body[1])),
    (0x03, 1): lambda _body: FirePulse(),
    (0x03, 2): lambda _body: FirePulse(with_one=True),
    (0x04, 1): lambda _body: FireTrain(),
    (0x05, 1): lambda _body: AskLongStatus(),
    (0x06, 9): lambda body: SetTrain(*(_read_u16(body, at) for at in (1, 3, 5, 7))),
    (0x07, 2): lambda body: SetPage(body[1]),
    (0x07, 3): lambda body: SetPage(body[1]),
    (0x08, 9): lambda body: SetDelaysShort(_read_u16(body, 1), _read_s16(body, 3), _read_u16(body, 5)),
    (0x09, 2): lambda _body: AskWave(),
    (0x09, 11): _decode_wave,
    (0x0A, 2): lambda _body: AskDelays(),
    (0x0A, 8): _decode_delays,
    (0x0B, 2): lambda _body: AskTiming(),
    (0x0B, 12): _decode_timing,
    (0x0C, 2): lambda _body: AskCounters(),
}
"""By id and length of the body."""


def decode_command(body: bytes) -> Command | Unreadable:
    """Read a host's body; ``Unreadable`` where id, length or a value is not of the protocol."""
    decoder = _DECODERS.get((body[0], len(body))) if body else None
    if decoder is None:
        return Unreadable(body)
    try:
        return decoder(body)
    except (ValueError, IndexError):
        return Unreadable(body)
