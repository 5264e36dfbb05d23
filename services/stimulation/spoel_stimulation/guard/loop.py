"""One thread's loop over sockets and ports: nothing in it waits for anything but the next thing to happen."""

import contextlib
import selectors
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol, TypeVar

LONGEST_WAIT_S = 0.25

T = TypeVar("T")


class Order(IntEnum):
    """In which order what is ready at one time is dealt with: whoever wants to stop comes first."""

    ESTOP = 0
    CONTROL = 1
    DEVICE = 2
    HOST = 3


class Ready(Protocol):
    """Called when its file can be read or written."""

    def __call__(self, *, readable: bool, writable: bool) -> None:
        """Deal with it, without waiting."""


class _Watched(NamedTuple):
    order: Order
    ready: Ready


class HasFileno(Protocol):
    """What a selector can watch."""

    def fileno(self) -> int:
        """Return the file descriptor."""


class Loop:
    """Watches files, and calls whoever is concerned, one after the other."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._woken, self._wake = socket.socketpair()
        self._woken.settimeout(0)
        self._wake.settimeout(0)
        self.watch(self._woken, Order.DEVICE, self._called)

    def watch(self, file: HasFileno, order: Order, ready: Ready, *, reads: bool = True, writes: bool = False) -> None:
        """Watch a file, or watch it for something else than before; for nothing: do not watch it."""
        events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if writes else 0)
        if not events:
            self.forget(file)
            return
        data = _Watched(order, ready)
        try:
            self._selector.modify(file, events, data)
        except KeyError:
            self._selector.register(file, events, data)

    def forget(self, file: HasFileno) -> None:
        """Watch a file no more; nothing happens where it is not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def call(self, work: Callable[[], None]) -> None:
        """Have ``work`` done by the loop's thread; may be called by any thread."""
        self._calls.put(work)
        with contextlib.suppress(BlockingIOError):
            self._wake.send(b"\0")

    def turn(self, ticks: Sequence[Callable[[float], float]]) -> None:
        """Deal with all that is ready, then with all whose time has come.

        Args:
            ticks: each is given the monotonic wall seconds, and returns in how many it wants to be called again.
        """
        now_s = time.monotonic()
        wait_s = min((_carefully(partial(tick, now_s), LONGEST_WAIT_S) for tick in ticks), default=LONGEST_WAIT_S)
        found = self._selector.select(max(0.0, min(wait_s, LONGEST_WAIT_S)))
        for key, events in sorted(found, key=_order_of):
            if self._still_watched(key):
                reads, writes = bool(events & selectors.EVENT_READ), bool(events & selectors.EVENT_WRITE)
                _carefully(partial(key.data.ready, readable=reads, writable=writes), None)

    def close(self) -> None:
        """Let go of the loop's own files."""
        self._selector.close()
        self._woken.close()
        self._wake.close()

    def _still_watched(self, key: selectors.SelectorKey) -> bool:
        """Tell whether what was dealt with before in this turn has left this one alone."""
        current = self._selector.get_map().get(key.fd)
        return current is not None and current.fileobj is key.fileobj

    def _called(self, **_how: bool) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4_096)
        with contextlib.suppress(Empty):
            while True:
                _carefully(self._calls.get_nowait(), None)


def _carefully(work: Callable[[], T], otherwise: T) -> T:
    """Do ``work``; an error in it is shown and ends neither the loop nor what else it serves: another room's stop."""
    try:
        return work()
    except Exception:  # noqa: BLE001 - as the docstring says
        traceback.print_exc()
        return otherwise


def _order_of(found: tuple[selectors.SelectorKey, int]) -> Order:
    watched: _Watched = found[0].data
    return watched.order
