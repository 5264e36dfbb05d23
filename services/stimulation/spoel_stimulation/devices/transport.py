"""One way to a device for serial ports, pseudo-terminals and TCP: serialx, whose addresses are paths or ``socket://``."""

import asyncio
from urllib.parse import urlsplit

import serialx

from spoel_stimulation.devices.adapter import LinkLost
from spoel_stimulation.devices.guarding import Line

CONNECT_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 1.0
_READ_BYTES = 4_096
_TWO = 2
_FAILURES = (OSError, TimeoutError, serialx.SerialException)
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback(address: str) -> bool:
    """Tell whether an address cannot lead off this machine: a pseudo-terminal, or TCP on loopback."""
    if address.startswith("socket://"):
        return urlsplit(address).hostname in _LOOPBACK_HOSTS
    return address.startswith("/dev/pts/")


class Transport:
    """Bytes to and from one address. All waits are in wall time.

    Args:
        address: a path (``/dev/ttyS0``, ``/dev/pts/3``) or ``socket://host:port``.
        line: how a serial port is set.
    """

    def __init__(self, address: str, line: Line) -> None:
        self.address = address
        self._serial = serialx.async_serial_for_url(
            address,
            baudrate=line.baudrate,
            byte_size=8,
            parity=serialx.Parity.NONE,
            stopbits=serialx.StopBits.TWO if line.stop_bits == _TWO else serialx.StopBits.ONE,
        )

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
