"""A belt over Bluetooth Low Energy, through the library ``bleak`` (MIT), which is imported only when one is used.

Install it with the extra ``spoel-stimulation[heart-bluetooth]``. This adapter has not been tried on a belt: where it
was written there is no Bluetooth. What it decodes is tested in ``profile``; what it asks of ``bleak`` (3.1:
``BleakClient``, ``start_notify``, ``read_gatt_char``) has the names and arguments of that version.
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import Protocol

import structlog

from spoel_stimulation.heart.profile import (
    BATTERY_LEVEL,
    HEART_RATE_MEASUREMENT,
    SERIAL_NUMBER,
    BadMeasurement,
    Measurement,
    decode,
)
from spoel_stimulation.heart.source import Belt, Heard, HeartLost

CONNECT_TIMEOUT_S = 20.0
MOST_UNREAD = 600
"""Notifications that may wait to be read: ten minutes' worth; with more the listener is stuck, and older ones go."""

_BASE_UUID = "-0000-1000-8000-00805f9b34fb"

_log = structlog.get_logger(__name__)


def uuid_of(characteristic: int) -> str:
    """Return a 16-bit UUID in full, on Bluetooth's base."""
    return f"{characteristic:08x}{_BASE_UUID}"


class BluetoothBelt:
    """A belt within reach of this machine's Bluetooth.

    Args:
        address: ``bluetooth://`` and its address, such as ``bluetooth://A0:9E:1A:00:00:01``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._device = address.removeprefix("bluetooth://")

    async def listen(self) -> AsyncGenerator[Heard, None]:
        """Connect, and yield who answers and then each measurement."""
        bleak, bleak_error = _library()
        heard: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_UNREAD)
        client = bleak.BleakClient(
            self._device, disconnected_callback=lambda _client: _put(heard, None), timeout=CONNECT_TIMEOUT_S
        )
        try:
            async with client:
                yield Belt(await _text(client), await _battery(client))
                await client.start_notify(
                    uuid_of(HEART_RATE_MEASUREMENT), lambda _sender, value: _put(heard, bytes(value))
                )
                while (value := await heard.get()) is not None:
                    found = _decoded(value, self.address)
                    if found is not None:
                        yield found
        except (bleak_error, OSError, TimeoutError) as error:
            raise HeartLost(f"The belt {self._device} cannot be reached: {error}. Wear it, and look at it.") from error
        raise HeartLost(f"The belt {self._device} went out of reach. Look at the belt.")


def _library() -> tuple[ModuleType, type[Exception]]:
    """Return ``bleak`` and its error.

    Raises:
        HeartLost: it is not installed.
    """
    try:
        return importlib.import_module("bleak"), importlib.import_module("bleak.exc").BleakError
    except ImportError as error:
        raise HeartLost(
            "A belt over Bluetooth needs the extra spoel-stimulation[heart-bluetooth] on this machine. Install it."
        ) from error


def _put(heard: asyncio.Queue[bytes | None], value: bytes | None) -> None:
    if heard.full():
        heard.get_nowait()
    heard.put_nowait(value)


def _decoded(value: bytes, address: str) -> Measurement | None:
    try:
        return decode(value)
    except BadMeasurement as error:
        _log.warning("belt.bad-measurement", address=address, detail=str(error))
        return None


class _Services(Protocol):
    def get_characteristic(self, specifier: str) -> object | None: ...


class _Client(Protocol):
    """What is used of ``bleak.BleakClient``."""

    services: _Services

    async def read_gatt_char(self, char_specifier: str) -> bytearray: ...


async def _text(client: _Client) -> str | None:
    value = await _asked(client, SERIAL_NUMBER)
    return None if value is None else value.decode("utf-8", "replace")


async def _battery(client: _Client) -> int | None:
    value = await _asked(client, BATTERY_LEVEL)
    return value[0] if value else None


async def _asked(client: _Client, characteristic: int) -> bytes | None:
    """Return a value that a belt may, but need not, have."""
    if client.services.get_characteristic(uuid_of(characteristic)) is None:
        return None
    return bytes(await client.read_gatt_char(uuid_of(characteristic)))
