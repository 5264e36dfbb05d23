"""Frames of a Magstim: a command letter, data, and the inverted sum of all bytes before it. Pure.

The device speaks only when it is asked, and its answer begins with the letter of the question. There is no length in a
frame: it follows from the letter, and for some letters from the version of the device's software. Where the version is
not known, the length is the one at which the checksum fits.

Source: behaviour of the open clients MagPy, MAGIC, horizonmagpy and magstim_python; not tried on hardware.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

BAUDRATE = 9_600
PAD = b"@"
NUL = 0
REFUSED = b"S"
NOT_UNDERSTOOD = b"?"
SIMULATOR_PAD = b"~"
"""The content of a pad is ignored by a device; a simulator answers ``F~`` with its serial number (decision 0031)."""

MAX_TEXT_FRAME = 40
UNLOCK_CODE_LENGTH = 16
_CHECKSUM_LENGTH = 1
_MORE_DATA = frozenset(string.digits.encode() + b"\x00")
_HEX_DIGITS = frozenset(string.hexdigits.encode())


def checksum(content: bytes) -> int:
    r"""Return the inverted sum of all bytes; ``checksum(b"J\t030030010")`` is 0xF5."""
    return ~sum(content) & 0xFF


def encode_frame(content: bytes) -> bytes:
    """Return a frame: what it says, and the checksum behind it."""
    return content + bytes((checksum(content),))


def is_whole(frame: bytes) -> bool:
    """Tell whether the last byte is the checksum of those before it."""
    return len(frame) > _CHECKSUM_LENGTH and frame[-1] == checksum(frame[:-1])


class Generation(IntEnum):
    """Software of a Rapid², by the major version with which a generation of formats began."""

    FIRST = 0
    LONG_PAUSES = 7
    """The pause has four digits."""
    LOCKED = 9
    """Control is given to an unlock code only; system status and charge delay; more pulses and longer trains."""
    LONG_DELAYS = 10
    """The charge delay has five digits, and setting it is answered with the system status."""


@dataclass(frozen=True, order=True)
class Version:
    """Version of the software of a Rapid²; what it means for the frames.

    Attributes:
        major: decides about all formats.
        minor: for the record.
        patch: for the record.
    """

    major: int
    minor: int = 0
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read ``11.0.0``.

        Raises:
            ValueError: no number at its beginning.
        """
        numbers = [int(part) for part in text.strip().split(".")[:3] if part.isdecimal()]
        if not numbers:
            raise ValueError(f"{text!r} is no version; give numbers, such as 9.0.0")
        return cls(*numbers)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def generation(self) -> Generation:
        """Which formats it has."""
        return max(generation for generation in Generation if generation <= self.major)

    @property
    def locked(self) -> bool:
        """Control is given to an unlock code only, and system status and charge delay exist."""
        return self.generation >= Generation.LOCKED

    @property
    def tells_status_after_delay(self) -> bool:
        """Setting the charge delay is answered with the whole system status."""
        return self.generation >= Generation.LONG_DELAYS

    @property
    def pulse_digits(self) -> int:
        """Digits of the number of pulses."""
        return 5 if self.locked else 4

    @property
    def duration_digits(self) -> int:
        """Digits of the duration, tenths of a second."""
        return 4 if self.locked else 3

    @property
    def wait_digits(self) -> int:
        """Digits of the pause, tenths of a second."""
        return 4 if self.generation >= Generation.LONG_PAUSES else 3

    @property
    def delay_digits(self) -> int:
        """Digits of the charge delay, milliseconds; 0 where there is none."""
        if not self.locked:
            return 0
        return 5 if self.generation >= Generation.LONG_DELAYS else 4

    @property
    def parameter_digits(self) -> tuple[int, ...]:
        r"""Digits of power, frequency, pulses, duration and pause in the answer to ``\@``."""
        return (3, 4, self.pulse_digits, self.duration_digits, self.wait_digits)


_FIXED_ANSWERS = {
    **dict.fromkeys(b"QRE@ACYZb", 3),
    **dict.fromkeys(b"X^_BD[", 4),
    **dict.fromkeys(b"Ix", 6),
    ord("F"): 9,
    ord("J"): 12,
}
_ANSWERS_BY_VERSION = {ord("\\"): (21, 22, 24), ord("n"): (4, 6), ord("o"): (7, 8)}
_SHORT = 3

_FIXED_QUESTIONS = {
    **dict.fromkeys(b"RJFEYZX\\NI^_bxo", 3),
    **dict.fromkeys(b"@AC", 5),
    ord("B"): 6,
}
_QUESTIONS_BY_VERSION = {ord("D"): (6, 7), ord("["): (5, 6), ord("n"): (6, 7)}

Lengths = Callable[[bytes], tuple[int, ...] | None]
"""Rising total lengths that a frame may have which begins like this; none: no such frame; None: not to be told yet."""


def answer_lengths(version: Version | None = None) -> Lengths:
    """Return the lengths of what a device says; of any version where it is not known."""

    def lengths(start: bytes) -> tuple[int, ...] | None:
        letter = start[0]
        known = letter in _FIXED_ANSWERS or letter in _ANSWERS_BY_VERSION or letter == ord("N")
        if not known:
            return _lone_question_mark(start)
        if len(start) < _SHORT - 1:
            return None
        if start[1:2] in {REFUSED, NOT_UNDERSTOOD}:
            return (_SHORT,)
        if letter == ord("N") or start[:2] == b"F" + SIMULATOR_PAD:
            return _text_length(start)
        if letter in _FIXED_ANSWERS:
            return (_FIXED_ANSWERS[letter],)
        return _ANSWERS_BY_VERSION[letter] if version is None else _of_version(letter, version)

    return lengths


def _lone_question_mark(start: bytes) -> tuple[int, ...] | None:
    """``?`` has no checksum: it is believed only where it stands alone, until the line has been quiet for a while."""
    return None if start == NOT_UNDERSTOOD else ()


def _text_length(start: bytes) -> tuple[int, ...] | None:
    end = start.find(NUL, 2)
    if end < 0:
        return None if len(start) < MAX_TEXT_FRAME else ()
    return (end + 1 + _CHECKSUM_LENGTH,)


def _of_version(letter: int, version: Version) -> tuple[int, ...]:
    if letter == ord("\\"):
        return (3 + sum(version.parameter_digits) + _CHECKSUM_LENGTH,)
    if letter == ord("o"):
        return (2 + version.delay_digits + _CHECKSUM_LENGTH,) if version.delay_digits else ()
    if not version.delay_digits:
        return ()
    return (6,) if version.tells_status_after_delay else (4,)


def question_lengths(version: Version | None = None) -> Lengths:
    """Return the lengths of what a host says; of any version where it is not known."""

    def lengths(start: bytes) -> tuple[int, ...] | None:
        letter = start[0]
        if letter in _FIXED_QUESTIONS:
            return (_FIXED_QUESTIONS[letter],)
        if letter == ord("Q"):
            if len(start) < _SHORT - 1:
                return None
            return (1 + UNLOCK_CODE_LENGTH + _CHECKSUM_LENGTH,) if start[1] in _HEX_DIGITS else (_SHORT,)
        if letter not in _QUESTIONS_BY_VERSION:
            return ()
        if version is None:
            return _QUESTIONS_BY_VERSION[letter]
        digits = {ord("D"): version.pulse_digits, ord("["): version.duration_digits, ord("n"): version.delay_digits}
        return (1 + digits[letter] + _CHECKSUM_LENGTH,) if digits[letter] else ()

    return lengths


@dataclass
class FrameCutter:
    """Cuts a stream of bytes into whole frames, whatever the pieces in which it arrives.

    After damage it looks for the next frame from the byte after the damaged one's first. Where several lengths are
    possible, and the checksum of a shorter one could also be data of a longer one, it waits for more, or for the pause
    after which ``give_up_pending`` is called.

    Args:
        lengths: of the frames.
        keep_damaged: hand damaged pieces on as they are, for a device that has to answer them.

    Attributes:
        bad_frames: frames given up.
    """

    lengths: Lengths
    keep_damaged: bool = False
    bad_frames: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    @property
    def pending(self) -> bool:
        """A frame has begun and is not whole."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the frames that became whole, each with all its bytes."""
        self._buffer += data
        return self._cut(paused=False)

    def give_up_pending(self) -> list[bytes]:
        """Take notice of a pause: nothing that has begun goes on. Return frames that are whole, or were hidden."""
        return self._cut(paused=True)

    def forget(self) -> None:
        """Drop what has arrived of a frame."""
        self._buffer.clear()

    def _cut(self, *, paused: bool) -> list[bytes]:
        frames: list[bytes] = []
        while self._buffer:
            lengths = self.lengths(bytes(self._buffer[:MAX_TEXT_FRAME]))
            length = self._whole(lengths or (), paused=paused)
            if length:
                frames.append(self._take(length))
            elif paused and self._buffer == NOT_UNDERSTOOD:
                frames.append(self._take(1))
            elif not paused and (lengths is None or len(self._buffer) < max(lengths, default=0)):
                break
            else:
                frames += self._give_up(max(lengths or (), default=len(self._buffer)))
        return frames

    def _whole(self, lengths: tuple[int, ...], *, paused: bool) -> int:
        """Return the length of the frame at the start; 0 if there is none, or it cannot be told yet."""
        fitting = [n for n in lengths if n <= len(self._buffer) and is_whole(bytes(self._buffer[:n]))]
        if not fitting:
            return 0
        unclear = fitting[-1] < lengths[-1] > len(self._buffer) and self._buffer[fitting[-1] - 1] in _MORE_DATA
        return 0 if unclear and not paused else fitting[-1]

    def _take(self, length: int) -> bytes:
        frame = bytes(self._buffer[:length])
        del self._buffer[:length]
        return frame

    def _give_up(self, length: int) -> list[bytes]:
        self.bad_frames += 1
        if self.keep_damaged:
            return [self._take(length)]
        self._take(1)
        return []
