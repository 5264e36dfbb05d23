"""The port to one device, read and written without waiting. Whole frames go out, and none begins inside another.

It is opened in a thread of its own, since names, ports and networks may take their time.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import urlsplit

from spoel_stimulation.devices.guarding import Line
from spoel_stimulation.guard.loop import LONGEST_WAIT_S, Loop, Order

OPEN_TIMEOUT_S = 2.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0
MAX_WAITING_FRAMES = 256
_READ_BYTES = 4_096


class Channel(Protocol):
    """An open, non-blocking way to a device."""

    def fileno(self) -> int:
        """Return the file descriptor."""

    def close(self) -> None:
        """Close it."""


class Owner(Protocol):
    """Who is told what happens at the port."""

    def port_opened(self) -> None:
        """The device may be spoken to."""

    def port_lost(self, reason: str) -> None:
        """The device cannot be spoken to any more."""

    def device_said(self, data: bytes) -> None:
        """Bytes arrived."""


class Port:
    """The port to one device, opened again whenever it is lost.

    Args:
        address: a serial port's path, or ``socket://host:port``.
        line: how a serial port is set.
        loop: whose thread does everything but the opening.
        owner: who is told.

    Attributes:
        problem: why it is not open; empty while it is.
    """

    def __init__(self, address: str, line: Line, loop: Loop, owner: Owner) -> None:
        self.address = address
        self.problem = "not opened yet"
        self._line = line
        self._loop = loop
        self._owner = owner
        self._channel: Channel | None = None
        self._opening = False
        self._closed = False
        self._open_at_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._frames: deque[bytes] = deque()
        self._first: deque[bytes] = deque()
        self._sent: Callable[[], None] | None = None
        self._rest = b""
        self._begun = False

    @property
    def is_open(self) -> bool:
        """The device may be spoken to."""
        return self._channel is not None

    @property
    def full(self) -> bool:
        """More waits than the device takes: take nothing more from the room's process for a while."""
        return len(self._frames) > MAX_WAITING_FRAMES

    def put(self, frames: Iterable[bytes]) -> None:
        """Send whole frames, behind those that wait."""
        if self._channel is not None:
            self._frames.extend(frames)
            self._flush()

    def put_first(self, frames: Iterable[bytes], sent: Callable[[], None]) -> None:
        """Send whole frames before anything else: only a frame of which a part is out already goes on before them.

        What else waits is dropped. ``sent`` is called when the operating system has taken the last byte.
        """
        self._frames.clear()
        self._first.clear()
        if not self._begun:
            self._rest = b""  # taken up, but the operating system had no room for any of it
        self._sent = sent
        if self._channel is not None:
            self._first.extend(frames)
            self._flush()

    def tick(self, now_s: float) -> float:
        """Open the port where it is time to, and send what may go now; return in how many seconds to come again."""
        if self._channel is not None:
            self._flush()
            return LONGEST_WAIT_S
        if not self._opening and not self._closed and now_s >= self._open_at_s:
            self._opening = True
            threading.Thread(target=self._open, name=f"open {self.address}", daemon=True).start()
        return LONGEST_WAIT_S if self._opening else max(0.0, self._open_at_s - now_s)

    def hurry(self) -> None:
        """Do not wait any longer before the next attempt to open the port."""
        self._open_at_s = 0.0
        self._pause_s = FIRST_PAUSE_S

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        if self._channel is not None:
            self._loop.forget(self._channel)
            self._channel.close()
            self._channel = None

    # --- opening

    def _open(self) -> None:
        """In a thread of its own."""
        channel: Channel | None = None
        try:
            channel = _open_channel(self.address, self._line)
            problem = ""
        except Exception as error:  # noqa: BLE001 - whatever it is: the port is not open, and is tried again
            problem = f"{self.address} does not open ({error!r}); look at cable, power and address"
        self._loop.call(lambda: self._opened(channel, problem))

    def _opened(self, channel: Channel | None, problem: str) -> None:
        self._opening = False
        if channel is None:
            self.problem = problem
            self._open_later()
            return
        if self._closed:
            channel.close()
            return
        self._channel, self.problem = channel, ""
        self._pause_s = FIRST_PAUSE_S
        self._rest, self._begun = b"", False
        self._frames.clear()
        self._first.clear()
        self._loop.watch(channel, Order.DEVICE, self._ready)
        self._owner.port_opened()

    def _open_later(self) -> None:
        self._open_at_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _lose(self, reason: str) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            return
        self.problem = f"{self.address} broke off ({reason}); look at cable and power"
        self._loop.forget(channel)
        channel.close()
        self._open_later()
        self._owner.port_lost(self.problem)

    # --- open

    def _ready(self, *, readable: bool, writable: bool) -> None:
        if readable:
            self._read()
        if writable and self._channel is not None:
            self._flush()

    def _read(self) -> None:
        assert self._channel is not None  # noqa: S101 - watched only while open
        try:
            data = os.read(self._channel.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(str(error))
            return
        if data:
            self._owner.device_said(data)
        else:
            self._lose("closed by the other end")

    def _flush(self) -> None:
        """Send what may go; watch for room where the operating system takes no more."""
        while self._channel is not None and (self._rest or self._next_frame()):
            try:
                taken = os.write(self._channel.fileno(), self._rest)
            except BlockingIOError:
                break
            except OSError as error:
                self._lose(str(error))
                return
            self._rest, self._begun = self._rest[taken:], True
            if self._rest:
                break
            if self._sent is not None and not self._first:
                sent, self._sent = self._sent, None
                sent()
        if self._channel is not None:
            self._loop.watch(self._channel, Order.DEVICE, self._ready, writes=bool(self._rest))

    def _next_frame(self) -> bool:
        """Take up the next frame, where there is one."""
        frames = self._first or self._frames
        if not frames:
            return False
        self._rest, self._begun = frames.popleft(), False
        return True


def _open_channel(address: str, line: Line) -> Channel:
    """Open a device's address; may take a while.

    Raises:
        OSError: there is nothing there, or it does not open in time.
    """
    if address.startswith("socket://"):
        target = urlsplit(address)
        connection = socket.create_connection((target.hostname or "", target.port or 0), OPEN_TIMEOUT_S)
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    return _open_serial(address, line)


def _open_serial(path: str, line: Line) -> Channel:
    """Open a serial port, with RTS low: on some devices a raised RTS is a trigger."""
    import serialx  # noqa: PLC0415 - a guard of devices on a network needs none of it

    port: Channel = serialx.serial_for_url(
        path,
        baudrate=line.baudrate,
        byte_size=8,
        parity=serialx.Parity.NONE,
        stopbits=serialx.StopBits.ONE if line.stop_bits == 1 else serialx.StopBits.TWO,
        rts_on_open=serialx.PinState.LOW,
    )
    port.open()  # type: ignore[attr-defined]
    os.set_blocking(port.fileno(), False)
    return port
