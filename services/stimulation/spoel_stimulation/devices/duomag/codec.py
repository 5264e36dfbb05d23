"""Bytes of the DuoMAG: commands of one byte sent twice, and a stream of status records between FF bytes. Pure.

Source: the open client MAGIC. It tells which byte holds what; the order of the flags within a byte is taken to be that
of its list, from bit 0 up, and the high part of a delay's count to come first. Neither was tried on hardware.

There is no check on the line: a byte that gets lost shifts all that follow. So a record is believed only if the one
before it was as long and said the same (``Believing``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

SYNC = 0xFF
FIRE = bytes((121, 121))
DISARM = bytes((0, 0))
MAX_PERCENT = 100
DELAY_STEPS_MS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MAX_DELAY_COUNT = 127
SIMULATOR_MARK = 0x53
_FIRST_DELAY_BYTE = 0x80
_RECHARGE = (0b100 << 5, 0b101 << 5)
_TTL_OUT = (0b110 << 5, 0b111 << 5)
_SHORTEST, _LONGEST = 12, 20
_COIL_TYPE_AT, _MARK_AT, _NUMBER_AT = 15, 13, 14


def set_intensity(percent: int) -> bytes:
    """Return the command for an intensity, percent of maximum output.

    Raises:
        ValueError: outside 0 to 100.
    """
    if not 0 <= percent <= MAX_PERCENT:
        raise ValueError(f"percent is {percent}; 0 to {MAX_PERCENT} can be set")
    return bytes((percent, percent))


@dataclass(frozen=True)
class Delay:
    """A delay as the device keeps it: a count of steps of ``DELAY_STEPS_MS[exponent]``."""

    count: int
    exponent: int

    def encode(self, high: int, low: int) -> bytes:
        """Return the two command bytes, each twice."""
        first = high | self.count >> 2
        second = low | self.exponent << 2 | self.count & 3
        return bytes((first, first, second, second))

    def recharge(self) -> bytes:
        """Return the command that sets it as the delay of recharging."""
        return self.encode(*_RECHARGE)

    def ttl_out(self) -> bytes:
        """Return the command that sets it as the delay of the trigger output."""
        return self.encode(*_TTL_OUT)

    @property
    def milliseconds(self) -> float:
        """How long it is."""
        return self.count * DELAY_STEPS_MS[self.exponent]


NO_DELAY = Delay(0, 0)


@dataclass(frozen=True)
class Status:
    """One status record, bytes b1 to b12, and b15 where the unit sends it.

    Attributes:
        ttl_demand: the trigger input asks for a pulse.
        turned: signed change of the intensity at the device's wheel.
        percent: the set point.
        coil_adc: temperature of the coil in the converter's own units; ``resistor_adc``, ``discharge_adc`` likewise.
        omitted: pulses that were asked for and not given, as the device counts them.
        idle: no pulse is under way; ``charged`` ready for the next.
        coil_type: None on units that do not tell.
        mark: b13 and b14, which no source describes; simulators use them to say who they are.
    """

    ttl_demand: bool = False
    turned: int = 0
    percent: int = 0
    coil_adc: int = 0
    resistor_adc: int = 0
    discharge_adc: int = 0
    omitted: int = 0
    power_overheat: bool = False
    coil_disconnected: bool = False
    hold_error: bool = False
    recharge_error: bool = False
    fan: bool = False
    coil_overheat: bool = False
    resistor_overheat: bool = False
    discharge_overheat: bool = False
    coil_data_ok: bool = True
    receiving_usb: bool = True
    idle: bool = True
    charged: bool = True
    ttl_out: Delay = NO_DELAY
    recharge: Delay = NO_DELAY
    mark: tuple[int, int] = (0, 0)
    coil_type: int | None = None

    def encode(self) -> bytes:
        """Return the record behind its FF byte."""
        record = (
            int(self.ttl_demand) << 5 | self.turned & 31,
            self.percent,
            self.coil_adc,
            self.resistor_adc,
            self.discharge_adc,
            self.omitted,
            _flags(self.power_overheat, self.coil_disconnected, self.hold_error, self.recharge_error),
            _flags(
                self.fan,
                self.coil_overheat,
                self.resistor_overheat,
                self.discharge_overheat,
                self.coil_data_ok,
                self.receiving_usb,
            ),
            _flags(self.idle, self.charged),
            self.ttl_out.count,
            self.recharge.count,
            self.ttl_out.exponent << 3 | self.recharge.exponent,
            *self.mark,
        )
        return bytes((SYNC, *record)) + (b"" if self.coil_type is None else bytes((self.coil_type,)))

    @classmethod
    def decode(cls, frame: bytes) -> Self | None:
        """Read a record with its FF byte; None where it is too short, too long, or its intensity is none."""
        if not _SHORTEST < len(frame) <= _LONGEST + 1 or frame[0] != SYNC or frame[2] > MAX_PERCENT:
            return None
        turned = frame[1] & 31
        errors, heat, state = frame[7], frame[8], frame[9]
        return cls(
            ttl_demand=bool(frame[1] & 32),
            turned=turned - 32 if turned & 16 else turned,
            percent=frame[2],
            coil_adc=frame[3],
            resistor_adc=frame[4],
            discharge_adc=frame[5],
            omitted=frame[6],
            power_overheat=bool(errors & 1),
            coil_disconnected=bool(errors & 2),
            hold_error=bool(errors & 4),
            recharge_error=bool(errors & 8),
            fan=bool(heat & 1),
            coil_overheat=bool(heat & 2),
            resistor_overheat=bool(heat & 4),
            discharge_overheat=bool(heat & 8),
            coil_data_ok=bool(heat & 16),
            receiving_usb=bool(heat & 32),
            idle=bool(state & 1),
            charged=bool(state & 2),
            ttl_out=Delay(frame[10], frame[12] >> 3 & 7),
            recharge=Delay(frame[11], frame[12] & 7),
            mark=(frame[_MARK_AT], frame[_NUMBER_AT]) if len(frame) > _NUMBER_AT else (0, 0),
            coil_type=frame[_COIL_TYPE_AT] if len(frame) > _COIL_TYPE_AT else None,
        )


def _flags(*flags: bool) -> int:
    return sum(1 << bit for bit, flag in enumerate(flags) if flag)


@dataclass
class Believing:
    """Believes a record when the one before it was as long and said the same of all but temperatures."""

    _last: bytes = b""

    def take(self, frame: bytes) -> Status | None:
        """Return the status if it is to be believed."""
        last, self._last = self._last, frame
        if len(frame) != len(last) or frame[:3] + frame[6:] != last[:3] + last[6:]:
            return None
        return Status.decode(frame)


@dataclass
class CommandFrames:
    """Cuts what a host sends into commands: two equal bytes. A byte without its equal is dropped.

    Attributes:
        pending: a first byte waits for its equal.
    """

    _first: int | None = None

    @property
    def pending(self) -> bool:
        """A command has begun and is not whole."""
        return self._first is not None

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the commands that became whole."""
        frames = []
        for byte in data:
            if byte == self._first:
                frames.append(bytes((byte, byte)))
                self._first = None
            else:
                self._first = byte
        return frames

    def give_up_pending(self) -> list[bytes]:
        """Drop a first byte whose equal does not come."""
        self._first = None
        return []


@dataclass
class StatusFrames:
    """Cuts what the device sends into records, each with the FF byte before it; whole when the next FF comes."""

    _buffer: bytearray = field(default_factory=bytearray)

    @property
    def pending(self) -> bool:
        """A record has begun and is not whole."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the records that became whole; what is too long to be one is dropped."""
        *whole, rest = (bytes(self._buffer) + data).split(bytes((SYNC,)))
        begun = bool(self._buffer) or bool(whole)
        records = whole[1:] if whole else []
        self._buffer = bytearray(bytes((SYNC,)) + rest) if begun and len(rest) <= _LONGEST else bytearray()
        return [bytes((SYNC,)) + record for record in records if _SHORTEST <= len(record) <= _LONGEST]

    def give_up_pending(self) -> list[bytes]:
        """Drop a record whose end does not come."""
        self._buffer.clear()
        return []


def delay_of(commands: bytes, kind: Callable[[Delay], bytes]) -> Delay | None:
    """Return the delay that two command bytes set, None where they are not of this kind."""
    first, second = commands
    delay = Delay((first & 31) << 2 | second & 3, second >> 2 & 7)
    return delay if kind(delay)[::2] == commands else None


def is_delay(command: int) -> bool:
    """Tell whether a command byte is part of a delay."""
    return command >= _FIRST_DELAY_BYTE
