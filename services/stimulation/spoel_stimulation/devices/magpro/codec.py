"""Frames of the MagPro: ``FE, length, body, CRC-8, FF``. Pure.

The check is CRC-8/MAXIM (polynomial x⁸+x⁵+x⁴+1, reflected, start 0) over the body alone. A body may hold the bytes FE
and FF: frames are told apart by their length, never by searching for FF.
"""

from dataclasses import dataclass, field

START = 0xFE
END = 0xFF
MAX_BODY = 64
_OVERHEAD = 4
_REFLECTED_POLYNOMIAL = 0x8C


def _crc_of_byte(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ _REFLECTED_POLYNOMIAL if value & 1 else value >> 1
    return value


_CRC_TABLE = bytes(_crc_of_byte(value) for value in range(256))


def crc8(body: bytes) -> int:
    """Return the CRC-8/MAXIM of ``body``; ``crc8(b"123456789")`` is 0xA1."""
    crc = 0
    for byte in body:
        crc = _CRC_TABLE[crc ^ byte]
    return crc


def encode_frame(body: bytes) -> bytes:
    """Return the frame that carries ``body``.

    Raises:
        ValueError: a body that is empty or longer than any the protocol has.
    """
    if not 1 <= len(body) <= MAX_BODY:
        raise ValueError(f"a body has 1 to {MAX_BODY} bytes, not {len(body)}")
    return bytes((START, len(body))) + body + bytes((crc8(body), END))


@dataclass
class FrameParser:
    """Cuts a stream of bytes into bodies, whatever the pieces in which it arrives.

    After a frame whose check or last byte is wrong it looks for the next FE from the byte after the wrong frame's own
    FE, so that a damaged length hides no good frame behind it. A length longer than ``MAX_BODY`` is damage.

    Attributes:
        bad_frames: frames given up because of check, end or length.
        skipped_bytes: bytes that belonged to no good frame.
    """

    bad_frames: int = 0
    skipped_bytes: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    @property
    def pending(self) -> bool:
        """A frame has begun and is not complete yet."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes in, and return the bodies of the frames that they complete."""
        self._buffer += data
        return self._cut()

    def give_up_pending(self) -> list[bytes]:
        """Give up the frame begun, since its rest did not come in time; return good frames that were behind its FE."""
        if not self._buffer:
            return []
        self._drop_start()
        return self._cut()

    def _cut(self) -> list[bytes]:
        bodies: list[bytes] = []
        while self._seek_start():
            length = self._buffer[1]
            if not 1 <= length <= MAX_BODY:
                self._drop_start()
                continue
            if len(self._buffer) < length + _OVERHEAD:
                break
            body = bytes(self._buffer[2 : 2 + length])
            if self._buffer[2 + length] != crc8(body) or self._buffer[3 + length] != END:
                self._drop_start()
                continue
            del self._buffer[: length + _OVERHEAD]
            bodies.append(body)
        return bodies

    def _seek_start(self) -> bool:
        """Drop bytes before the next FE; True if FE and a length are there."""
        at = self._buffer.find(START)
        garbage = len(self._buffer) if at < 0 else at
        self.skipped_bytes += garbage
        del self._buffer[:garbage]
        return len(self._buffer) > 1

    def _drop_start(self) -> None:
        self.bad_frames += 1
        self.skipped_bytes += 1
        del self._buffer[:1]
