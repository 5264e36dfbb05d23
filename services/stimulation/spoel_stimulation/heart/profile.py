"""The Bluetooth heart rate profile: bytes to measurements and back. Pure.

Sources: GATT service Heart Rate (0x180D), characteristic Heart Rate Measurement (0x2A37) as published at
developer.bluetooth.org: a byte of flags, heart rate in 8 or 16 bits, energy where flagged, then intervals between beats
in 1/1024 s, oldest first, all little-endian. Battery Level (0x2A19) is one byte of percent; Serial Number String
(0x2A25) is text.
"""

import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple

HEART_RATE_MEASUREMENT = 0x2A37
BATTERY_LEVEL = 0x2A19
SERIAL_NUMBER = 0x2A25

UNITS_A_SECOND = 1024
MOST_INTERVALS = 9
"""Intervals that fit into one notification of the default size (20 bytes) beside flags and an 8-bit rate."""

_WIDE_RATE, _CONTACT_KNOWN, _CONTACT, _ENERGY, _INTERVALS = 0x01, 0x04, 0x02, 0x08, 0x10
_BYTE_MAX = 0xFF

Contact = Literal["not-told", "lost", "good"]


class BadMeasurement(ValueError):
    """Bytes that are no heart rate measurement: too short, or an interval cut in half."""


class Measurement(NamedTuple):
    """One notification of a belt.

    Attributes:
        rate_bpm: the belt's own mean heart rate.
        contact: with the skin.
        energy_kj: since its last reset; None where it does not tell.
        rr_units: intervals between beats in 1/1024 s, oldest first.
    """

    rate_bpm: int
    contact: Contact = "not-told"
    energy_kj: int | None = None
    rr_units: tuple[int, ...] = ()

    @property
    def rr_ms(self) -> tuple[float, ...]:
        """Intervals between beats in milliseconds, oldest first."""
        return tuple(units * 1_000 / UNITS_A_SECOND for units in self.rr_units)


def decode(value: bytes) -> Measurement:
    """Return the measurement of a notification; reserved flags are passed over.

    Raises:
        BadMeasurement: too short for its flags, or longer than they account for.
    """
    if not value:
        raise BadMeasurement("an empty heart rate measurement")
    flags, rest = value[0], value[1:]
    rate, rest = _take(rest, "<H" if flags & _WIDE_RATE else "<B")
    energy = None
    if flags & _ENERGY:
        energy, rest = _take(rest, "<H")
    if not flags & _INTERVALS and rest:
        raise BadMeasurement(f"{len(rest)} bytes more than the flags {flags:#04x} account for")
    if len(rest) % 2:
        raise BadMeasurement("an interval of one byte: the notification was cut")
    intervals = struct.unpack(f"<{len(rest) // 2}H", rest)
    return Measurement(rate, _contact(flags), energy, intervals)


def encode(measurement: Measurement) -> bytes:
    """Return the notification of a measurement; the rate takes 16 bits only where 8 are too few."""
    wide = measurement.rate_bpm > _BYTE_MAX
    flags = _WIDE_RATE if wide else 0
    if measurement.contact != "not-told":
        flags |= _CONTACT_KNOWN | (_CONTACT if measurement.contact == "good" else 0)
    value = struct.pack("<H" if wide else "<B", measurement.rate_bpm)
    if measurement.energy_kj is not None:
        flags |= _ENERGY
        value += struct.pack("<H", measurement.energy_kj)
    if measurement.rr_units:
        flags |= _INTERVALS
        value += struct.pack(f"<{len(measurement.rr_units)}H", *measurement.rr_units)
    return bytes([flags]) + value


def units_of(rr_ms: Sequence[float]) -> tuple[int, ...]:
    """Return intervals in the profile's units of 1/1024 s."""
    return tuple(min(0xFFFF, round(each * UNITS_A_SECOND / 1_000)) for each in rr_ms)


def _take(value: bytes, form: str) -> tuple[int, bytes]:
    size = struct.calcsize(form)
    if len(value) < size:
        raise BadMeasurement("shorter than its flags say")
    return struct.unpack(form, value[:size])[0], value[size:]


def _contact(flags: int) -> Contact:
    if not flags & _CONTACT_KNOWN:
        return "not-told"
    return "good" if flags & _CONTACT else "lost"
