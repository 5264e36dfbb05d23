"""One client at a Unix socket: read and written without waiting."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from spoel_stimulation.devices.local_socket import listen
from spoel_stimulation.guard.loop import Loop, Order

MAX_UNREAD_BYTES = 262_144
_READ_BYTES = 65_536


class Pipe:
    """One client's connection.

    Args:
        connection: accepted, non-blocking.
        loop: watches it.
        order: in which it is dealt with.
        heard: called with what arrived.
        gone: called once, when the client is gone or takes nothing any more.
        hears_out: what a client said before it was gone still counts: it is heard to its end, though it takes nothing
            any more.
    """

    def __init__(
        self,
        connection: socket.socket,
        loop: Loop,
        order: Order,
        heard: Callable[[bytes], None],
        gone: Callable[[], None],
        *,
        hears_out: bool = False,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._order = order
        self._heard = heard
        self._gone = gone
        self._hears_out = hears_out
        self._takes = True
        self._unsent = bytearray()
        self._paused = False
        self._is_open = True
        self._watch()

    def send(self, data: bytes) -> None:
        """Send, or keep until there is room; a client that takes nothing any more is let go."""
        if not self._is_open or not self._takes:
            return
        self._unsent += data
        if len(self._unsent) > MAX_UNREAD_BYTES:
            self.close()
            return
        self._flush()

    def pause(self, *, paused: bool) -> None:
        """Read nothing for a while, or go on."""
        if paused != self._paused and self._is_open:
            self._paused = paused
            self._watch()

    def hear_out(self) -> None:
        """Take all that the client has said by now, and its end."""
        while self._is_open and self._read():
            pass

    def close(self) -> None:
        """Let the client go."""
        if self._is_open:
            self._is_open = False
            self._loop.forget(self._connection)
            self._connection.close()
            self._gone()

    def _ready(self, *, readable: bool, writable: bool) -> None:
        if writable:
            self._flush()
        if readable and self._is_open:
            self._read()

    def _read(self) -> bool:
        """Return whether there was something to hear."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._heard(data)
        else:
            self.close()
        return bool(data)

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._takes = False
            self._unsent.clear()
            if not self._hears_out:
                self.close()
                return
        if self._is_open:
            self._watch()

    def _watch(self) -> None:
        self._loop.watch(self._connection, self._order, self._ready, reads=not self._paused, writes=bool(self._unsent))


class Door:
    """A listener at a Unix socket.

    Args:
        path: of the socket; only this user may connect to it.
        loop: watches it.
        order: in which its clients are dealt with.
        came: called with each client's connection.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, loop: Loop, order: Order, came: Callable[[socket.socket], None]) -> None:
        self._path = path
        self._loop = loop
        self._came = came
        self._listener = listen(path)
        loop.watch(self._listener, order, self._ready)

    def close(self) -> None:
        """Let nobody in any more."""
        self._loop.forget(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _ready(self, **_how: bool) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.settimeout(0)
        self._came(connection)
