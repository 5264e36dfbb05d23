"""Identifiers: UUID version 7 (RFC 9562), ordered by the time at which they were made."""

import os
import time
import uuid

_VERSION = 0x7
_VARIANT = 0b10


def uuid7(unix_ms: int | None = None) -> uuid.UUID:
    """Return a new UUIDv7.

    Args:
        unix_ms: milliseconds since 1970-01-01 UTC to stamp it with; now, on the machine's clock, if left out.
    """
    moment_ms = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    random_bits = int.from_bytes(os.urandom(10))
    value = (moment_ms & (1 << 48) - 1) << 80
    value |= _VERSION << 76 | (random_bits >> 68) << 64
    value |= _VARIANT << 62 | random_bits & ((1 << 62) - 1)
    return uuid.UUID(int=value)


def new_id() -> str:
    """Return a new UUIDv7 as text: the form in which every aggregate and event is named."""
    return str(uuid7())
