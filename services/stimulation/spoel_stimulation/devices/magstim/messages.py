"""What is said between host and Magstim: questions as bytes, answers as dataclasses. Pure.

All but ``take_control`` and ``release`` are answered with the device's state **before** they took effect.
Source: as for the codec; not tried on hardware.
"""

import re
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from itertools import accumulate

from spoel_stimulation.devices.magstim.codec import (
    NOT_UNDERSTOOD,
    NUL,
    PAD,
    REFUSED,
    SIMULATOR_PAD,
    Version,
    encode_frame,
    is_whole,
)


class Instrument(IntFlag):
    """The status byte of every answer. Standby, armed and ready exclude each other: 0x89, 0x8A and 0x8C."""

    STANDBY = 1
    ARMED = 2
    READY = 4
    COIL_PRESENT = 8
    REPLACE_COIL = 16
    ERROR_PRESENT = 32
    ERROR_TYPE = 64
    REMOTE_CONTROL = 128

    @property
    def enabled(self) -> bool:
        """Armed, whether ready to fire or not."""
        return bool(self & (Instrument.ARMED | Instrument.READY))


class Rapid(IntFlag):
    """The second status byte of a Rapid²; 0x38 on a fresh unit."""

    ENHANCED_POWER = 1
    TRAIN_RUNNING = 2
    WAIT = 4
    SINGLE_PULSE = 8
    HV_SUPPLY = 16
    COIL_READY = 32
    THETA_SUPPLY = 64
    MODIFIED_COIL_ALGORITHM = 128


class Extended(IntFlag):
    """The last two bytes of the system status, of software 9 and up."""

    PLUS_1_MODULE = 1
    SPECIAL_TRIGGER_MODE = 2
    CHARGE_DELAY_SET = 4


class PairMode(StrEnum):
    """Modes of a BiStim²."""

    SINGLE = "0"
    SIMULTANEOUS = "1"
    LOW_RESOLUTION = "2"
    INDEPENDENT = "3"
    HIGH_RESOLUTION = "4"


# --- what the host says ---------------------------------------------------------------------------------------------


def _padded(letter: bytes) -> bytes:
    return encode_frame(letter + PAD)


ARM = encode_frame(b"EB")
DISARM = encode_frame(b"EA")
FIRE = encode_frame(b"EH")
RELEASE = _padded(b"R")
ASK_TEMPERATURE = _padded(b"F")
ASK_SERIAL = encode_frame(b"F" + SIMULATOR_PAD)
ASK_PARAMETERS = _padded(b"J")
ASK_RAPID_PARAMETERS = _padded(b"\\")
ASK_SYSTEM_STATUS = _padded(b"x")
ASK_CHARGE_DELAY = _padded(b"o")
ASK_ERROR = _padded(b"I")
ASK_VERSION = encode_frame(b"ND")
ENHANCED_POWER_OFF = _padded(b"_")


def take_control(unlock_code: str = "") -> bytes:
    """Take remote control; ``unlock_code`` for a Rapid² of software 9 and up."""
    return encode_frame(b"Q" + (unlock_code.encode("ascii") or PAD))


def set_power(percent: int) -> bytes:
    """Set the power, percent of maximum output; of a BiStim² that of its first unit."""
    return encode_frame(b"@%03d" % percent)


def set_second_power(percent: int) -> bytes:
    """Set the power of a BiStim²'s second unit."""
    return encode_frame(b"A%03d" % percent)


def set_interval(value: int) -> bytes:
    """Set a BiStim²'s interval: milliseconds, in high resolution tenths of them."""
    return encode_frame(b"C%03d" % value)


def set_pair_mode(mode: PairMode) -> bytes:
    """Choose a BiStim²'s mode."""
    return encode_frame(b"X" + mode.value.encode("ascii"))


def set_frequency(tenth_hz: int) -> bytes:
    """Set the rate of a Rapid²'s train."""
    return encode_frame(b"B%04d" % tenth_hz)


def set_pulses(pulses: int, version: Version) -> bytes:
    """Set the number of pulses of a Rapid²'s train."""
    return encode_frame(b"D%0*d" % (version.pulse_digits, pulses))


def set_duration(tenth_s: int, version: Version) -> bytes:
    """Set the duration of a Rapid²'s train; 0 for single pulses."""
    return encode_frame(b"[%0*d" % (version.duration_digits, tenth_s))


def set_charge_delay(delay_ms: int, version: Version) -> bytes:
    """Set the delay of charging after a pulse; software 9 and up."""
    return encode_frame(b"n%0*d" % (version.delay_digits, delay_ms))


# --- what the device says -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """An answer to a command.

    Attributes:
        letter: of the command.
        instrument: status of the device.
        rapid: second status byte, where the answer has one.
        extended: extended status, where the answer has one.
        data: digits, or the mode of an ``X``.
    """

    letter: str
    instrument: Instrument
    rapid: Rapid | None = None
    extended: Extended | None = None
    data: str = ""


@dataclass(frozen=True)
class Refused:
    """The device understood, and did not do it.

    Attributes:
        letter: of the command.
        conflict: it does not go with the device's state, or there is no remote control; otherwise the data are wrong.
    """

    letter: str
    conflict: bool


@dataclass(frozen=True)
class NotUnderstood:
    """``?`` alone: no such command, or it arrived damaged."""


@dataclass(frozen=True)
class VersionAnswer:
    """The version of a Rapid²."""

    version: Version
    letter: str = "N"


@dataclass(frozen=True)
class SerialAnswer:
    """The serial number of a simulator; a device gives none."""

    serial: str
    letter: str = "F"


Message = Answer | Refused | NotUnderstood | VersionAnswer | SerialAnswer

_WITH_RAPID = frozenset("^_BD[\\xn")
_STATUS_BYTES_OF_RAPID = 2
_DIGITS_OF_PAIR = (3, 3, 3)
_DIGITS_OF_TEMPERATURES = (3, 3)
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,2}")


def decode_answer(frame: bytes) -> Message | None:
    """Read a whole frame of the device; None where it is none that is known."""
    if frame == NOT_UNDERSTOOD:
        return NotUnderstood()
    if not is_whole(frame) or len(frame) < len(DISARM):
        return None
    letter, content = chr(frame[0]), frame[1:-1]
    if content in {REFUSED, NOT_UNDERSTOOD}:
        return Refused(letter, conflict=content == REFUSED)
    if letter == "N":
        return _version_answer(content)
    if letter == "F" and content.startswith(SIMULATOR_PAD):
        return SerialAnswer(content[1:].rstrip(b"\x00").decode("ascii", "replace"))
    return _status_answer(letter, content)


def _version_answer(content: bytes) -> VersionAnswer | None:
    """Read a version behind one byte whose meaning is not known; clients drop it."""
    found = _VERSION.search(content[1:].rstrip(bytes((NUL,))).decode("ascii", "replace"))
    return None if found is None else VersionAnswer(Version.parse(found.group()))


def _status_answer(letter: str, content: bytes) -> Answer | None:
    instrument = Instrument(content[0])
    if letter in "QR":
        return Answer(letter, instrument)
    if letter not in _WITH_RAPID:
        data = content[1:].decode("ascii", "replace")
        return Answer(letter, instrument, data=data)
    if len(content) < _STATUS_BYTES_OF_RAPID:
        return None
    rapid, rest = Rapid(content[1]), content[_STATUS_BYTES_OF_RAPID:]
    if letter in "xn":
        extended = Extended(int.from_bytes(rest, "big")) if rest else None
        return Answer(letter, instrument, rapid, extended)
    return Answer(letter, instrument, rapid, data=rest.decode("ascii", "replace"))


@dataclass(frozen=True)
class RapidParameters:
    """The registers of a Rapid²'s train.

    Attributes:
        percent_mso: power.
        tenth_hz: frequency.
        pulses: number of them.
        tenth_s: duration of the train, tenths of a second; 0 for single pulses.
        wait_tenth_s: pause between trains; it cannot be set over the wire.
    """

    percent_mso: int
    tenth_hz: int
    pulses: int
    tenth_s: int
    wait_tenth_s: int

    @classmethod
    def read(cls, data: str, version: Version) -> "RapidParameters | None":
        r"""Read the digits of the answer to ``\@``; None where they are none, or another number of them."""
        numbers = _numbers(data, version.parameter_digits)
        return None if numbers is None else cls(*numbers)


@dataclass(frozen=True)
class PairParameters:
    """Powers and interval of a 200² or BiStim²; on a 200² only the first power means something.

    Attributes:
        percent_mso: power of unit A.
        second_percent_mso: power of unit B.
        interval: milliseconds, in high resolution tenths of them.
    """

    percent_mso: int
    second_percent_mso: int
    interval: int

    @classmethod
    def read(cls, data: str) -> "PairParameters | None":
        """Read the nine digits of the answer to ``J@``; None where they are none."""
        numbers = _numbers(data, _DIGITS_OF_PAIR)
        return None if numbers is None else cls(*numbers)


@dataclass(frozen=True)
class Temperatures:
    """Temperatures of the two coils' sensors, tenths of a degree Celsius."""

    first: int
    second: int

    @classmethod
    def read(cls, data: str) -> "Temperatures | None":
        """Read the six digits of the answer to ``F@``; None where they are none."""
        numbers = _numbers(data, _DIGITS_OF_TEMPERATURES)
        return None if numbers is None else cls(*numbers)

    @property
    def warmest_c(self) -> float:
        """Degrees Celsius of the warmer one."""
        return max(self.first, self.second) / 10


def _numbers(data: str, widths: tuple[int, ...]) -> list[int] | None:
    """Read numbers of so many digits each, one behind the other; None where it is not just these."""
    if not (data.isascii() and data.isdecimal()) or len(data) != sum(widths):
        return None
    ends = accumulate(widths)
    return [int(data[end - width : end]) for end, width in zip(ends, widths, strict=True)]
