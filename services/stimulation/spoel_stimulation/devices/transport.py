"""One way to a device for serial ports, pseudo-terminals and TCP: serialx, whose addresses are paths or ``socket://``.

A serial port opens with RTS low: on some devices a raised RTS is a trigger, and serialx raises it unless told.

Where a room has its guard, the way leads through that: a Unix socket, ``guard://SOCKET#ADDRESS`` with the device's own
address behind it, since that, and not the guard's, says what kind of device it can be (HZ-25).
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

import serialx

from spoel_stimulation.devices.adapter import LinkLost
from spoel_stimulation.devices.local_socket import short_path

CONNECT_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 1.0
_READ_BYTES = 4_096
_STOP_BITS = {1: serialx.StopBits.ONE, 2: serialx.StopBits.TWO}
_FAILURES = (OSError, TimeoutError, serialx.SerialException)
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


_GUARD = "guard://"


def through_guard(data_socket: Path, address: str) -> str:
    """Return the address of a device at ``address`` whose guard passes frames at a Unix socket."""
    return f"{_GUARD}{data_socket}#{address}"


def is_loopback(address: str) -> bool:
    """Tell whether an address cannot lead off this machine: a pseudo-terminal, or TCP on loopback."""
    if address.startswith(_GUARD):
        return is_loopback(address.partition("#")[2])
    if address.startswith("socket://"):
        return urlsplit(address).hostname in _LOOPBACK_HOSTS
    return address.startswith("/dev/pts/")


class _Way(Protocol):
    """What serialx offers, as far as it is used here."""

    @property
    def transport(self) -> asyncio.WriteTransport:
        """The asyncio transport, while open."""

    async def open(self) -> None:
        """Open it."""

    async def read(self, count: int) -> bytes:
        """Return what has arrived, at least one byte; nothing where the other end is gone."""

    def write(self, data: bytes) -> Awaitable[object]:
        """Write and wait until the operating system has taken all of it."""

    def abort(self) -> None:
        """Break off at once."""

    async def wait_closed(self) -> None:
        """Wait until it is closed."""


class _GuardWay:
    """The Unix socket at which a room's guard passes frames."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self._open[1].transport

    async def open(self) -> None:
        with short_path(self._path) as name:
            self._streams = await asyncio.open_unix_connection(name)

    async def read(self, count: int) -> bytes:
        return await self._open[0].read(count)

    async def write(self, data: bytes) -> None:
        _, writer = self._open
        writer.write(data)
        await writer.drain()

    def abort(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()

    async def wait_closed(self) -> None:
        if self._streams is not None:
            await self._streams[1].wait_closed()

    @property
    def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            raise ConnectionError("not open")
        return self._streams


class Transport:
    """Bytes to and from one address. All waits are in wall time.

    Args:
        address: a path (``/dev/ttyS0``, ``/dev/pts/3``), ``socket://host:port``, or as ``through_guard`` makes it.
        baudrate: bits a second; 8 data bits, no parity, no flow control.
        stop_bits: 1 or 2.
    """

    def __init__(self, address: str, baudrate: int, stop_bits: Literal[1, 2] = 1) -> None:
        self.address = address
        self._serial = _way_to(address, baudrate, stop_bits)

    async def open(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Open the address.

        Raises:
            LinkLost: there is nothing there, or it does not open in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._serial.open()
        except (*_FAILURES, ValueError) as error:
            raise LinkLost(f"{self.address} does not open ({error!r}); check cable, power and address") from error
        self._serial.transport.set_write_buffer_limits(high=0)

    async def read(self) -> bytes:
        """Return what has arrived, at least one byte.

        Raises:
            LinkLost: the other end is gone.
        """
        try:
            data = await self._serial.read(_READ_BYTES)
        except _FAILURES as error:
            raise LinkLost(f"{self.address} broke off ({error})") from error
        if not data:
            raise LinkLost(f"{self.address} was closed by the other end")
        return bytes(data)

    async def write(self, data: bytes) -> None:
        """Write and wait until the operating system has taken all of it.

        Raises:
            LinkLost: the other end is gone, or takes nothing.
        """
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._serial.write(data)
        except _FAILURES as error:
            raise LinkLost(f"{self.address} takes no data ({error!r})") from error

    def abort(self) -> None:
        """Break off at once, so that nothing that still waits to be sent goes out later. Never raises."""
        self._serial.abort()

    async def close(self) -> None:
        """Close at once; what was not yet sent is dropped. Never raises."""
        self.abort()
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._serial.wait_closed()
        except _FAILURES:
            return


def _way_to(address: str, baudrate: int, stop_bits: Literal[1, 2]) -> _Way:
    if address.startswith(_GUARD):
        return _GuardWay(Path(address.removeprefix(_GUARD).partition("#")[0]))
    way: _Way = serialx.async_serial_for_url(
        address,
        baudrate=baudrate,
        byte_size=8,
        parity=serialx.Parity.NONE,
        stopbits=_STOP_BITS[stop_bits],
        rts_on_open=serialx.PinState.LOW,
    )
    return way
