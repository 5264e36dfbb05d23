"""The simulated belt's wire: GATT values over TCP, each as ``length, characteristic, value``.

``length`` (of the value) and ``characteristic`` (its 16-bit UUID) are little-endian 16-bit numbers. What a real belt
would be asked for, serial number and battery, comes first; then notifications.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import structlog

from spoel_stimulation.heart.profile import (
    BATTERY_LEVEL,
    HEART_RATE_MEASUREMENT,
    SERIAL_NUMBER,
    BadMeasurement,
    decode,
)
from spoel_stimulation.heart.source import Belt, Heard, HeartLost

CONNECT_TIMEOUT_S = 5.0
LONGEST_VALUE = 512
"""The longest value of an attribute that the Bluetooth core specification allows, in bytes."""

_HEADER = struct.Struct("<HH")

_log = structlog.get_logger(__name__)


def frame(characteristic: int, value: bytes) -> bytes:
    """Return one value as it goes over the wire."""
    return _HEADER.pack(len(value), characteristic) + value


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the next characteristic and value.

    Raises:
        HeartLost: the connection ended, or what comes is no value.
    """
    try:
        length, characteristic = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if length > LONGEST_VALUE:
            raise HeartLost(f"The belt announced a value of {length} bytes; {LONGEST_VALUE} is the longest there is.")
        return characteristic, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise HeartLost("The connection to the belt ended. Look at the belt.") from error


class TcpBelt:
    """A belt behind a TCP port: the simulator.

    Args:
        address: ``socket://host:port``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        place = urlsplit(address)
        if place.scheme != "socket" or place.hostname is None or place.port is None:
            raise ValueError(f"{address!r} is no belt's address; give socket://host:port")
        self._place = (place.hostname, place.port)

    async def listen(self) -> AsyncGenerator[Heard, None]:
        """Connect, and yield who answers and then each measurement."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(*self._place)
        except (OSError, TimeoutError) as error:
            raise HeartLost(f"No belt answers at {self.address}. Look whether it runs.") from error
        try:
            yield await _introduced(reader)
            while True:
                characteristic, value = await read_frame(reader)
                if characteristic != HEART_RATE_MEASUREMENT:
                    continue
                try:
                    yield decode(value)
                except BadMeasurement as error:
                    _log.warning("belt.bad-measurement", address=self.address, detail=str(error))
        finally:
            writer.close()


async def _introduced(reader: asyncio.StreamReader) -> Belt:
    """Return who answers."""
    told: dict[int, bytes] = {}
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            while not {SERIAL_NUMBER, BATTERY_LEVEL} <= told.keys():
                characteristic, value = await read_frame(reader)
                told[characteristic] = value
    except TimeoutError as error:
        raise HeartLost("The belt did not say who it is. Start it again.") from error
    battery = told[BATTERY_LEVEL]
    return Belt(told[SERIAL_NUMBER].decode("utf-8", "replace"), battery[0] if battery else None)
