"""The emergency stop over HTTP: ``POST /estop/{room}`` needs nothing, and nobody can hold it up (INV-8).

The disarm leaves as soon as the request's first line is here. Slow and idle clients cost a place in a list: when the
list is full the oldest idle one has to go. Only what is needed of HTTP/1.1 is here: one request a connection.
"""

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from spoel_stimulation.guard.loop import LONGEST_WAIT_S, Loop, Order
from spoel_stimulation.guard.stops import INSTRUCTIONS, Stop

MAX_CLIENTS = 256
MAX_LINE_BYTES = 2_048
REQUEST_TIMEOUT_S = 5.0
LINGER_S = 1.0
BACKLOG = 512
_READ_BYTES = 4_096
_ACCEPTS_A_TURN = 64
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class Room(Protocol):
    """What the emergency stop needs of a room."""

    room_id: str

    def stop(self, reason: str, by: str, answer: Callable[[Stop], None]) -> Stop:
        """Disarm now."""

    def describe(self) -> dict[str, object]:
        """Return the room as it stands."""


class Answered(NamedTuple):
    """An answer that is known at once."""

    status: int
    body: Mapping[str, object]


class EmergencyStop:
    """The listener.

    Args:
        bind: address to listen at.
        port: 0 for any free one.
        loop: whose thread does everything.
        rooms: those that can be stopped.

    Attributes:
        port: at which it listens.

    Raises:
        OSError: somebody else listens there.
    """

    def __init__(self, bind: str, port: int, loop: Loop, rooms: Sequence[Room]) -> None:
        self._rooms = {room.room_id: room for room in rooms}
        self._loop = loop
        self._clients: list[_Client] = []
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._listener = socket.create_server((bind, port), family=family, backlog=BACKLOG)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        loop.watch(self._listener, Order.ESTOP, self._ready)

    def tick(self, now_s: float) -> float:
        """Let go of clients whose time is over; return in how many seconds to come again."""
        for client in tuple(self._clients):
            if now_s > client.until_s:
                client.close()
        return LONGEST_WAIT_S

    def close(self) -> None:
        """Listen no more."""
        self._loop.forget(self._listener)
        self._listener.close()
        for client in tuple(self._clients):
            client.close()

    def asked(self, client: "_Client", line: str) -> Answered | None:
        """Do what a request's first line asks; None where the answer follows.

        Args:
            client: who asks.
            line: for example ``POST /estop/room-1 HTTP/1.1``.
        """
        method, _, rest = line.strip().partition(" ")
        path = [unquote(part) for part in urlsplit(rest.rpartition(" ")[0] or rest).path.split("/") if part]
        match method.upper(), path:
            case "POST", ["estop", room_id] if room_id in self._rooms:
                self._rooms[room_id].stop(
                    "emergency", client.address, lambda stop: client.answer(_of_stop(room_id, stop))
                )
                return None
            case "GET", _:
                return self._look(path)
            case "OPTIONS", _:  # a browser asks first, where a page adds a header to its stop
                return Answered(200, {})
        return self._not_here(path)

    def _look(self, path: list[str]) -> Answered:
        match path:
            case ["estop"] | ["health"]:
                rooms = [room.describe() for room in self._rooms.values()]
                return Answered(200, {"ready": all(room["device_open"] for room in rooms), "rooms": rooms})
            case ["estop", room_id] if room_id in self._rooms:
                return Answered(200, self._rooms[room_id].describe())
        return self._not_here(path)

    def _not_here(self, path: list[str]) -> Answered:
        match path:
            case ["estop", room_id] if room_id in self._rooms:
                return _problem(405, "POST /estop/{room} stops, GET looks.")
            case ["estop", room_id]:
                return _problem(404, f"This guard has no room {room_id[:64]!r}. It has: {', '.join(self._rooms)}.")
        return _problem(404, "POST /estop/{room} stops; GET /estop lists the rooms of this guard.")

    def forget(self, client: "_Client") -> None:
        """A client is gone."""
        self._clients.remove(client)

    def _ready(self, **_how: bool) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            if len(self._clients) >= MAX_CLIENTS:
                self._make_room()
            connection.settimeout(0)
            self._clients.append(_Client(connection, str(address[0]), self._loop, self))

    def _make_room(self) -> None:
        """Let the oldest idle client go; where none is idle, the oldest, whose stop was sent long before."""
        idle = (client for client in self._clients if not client.has_asked)
        next(idle, self._clients[0]).close()


class _Client:
    """One connection, one request."""

    def __init__(self, connection: socket.socket, address: str, loop: Loop, stops: EmergencyStop) -> None:
        self.address = address
        self.has_asked = False
        self.until_s = time.monotonic() + REQUEST_TIMEOUT_S
        self._connection = connection
        self._loop = loop
        self._stops = stops
        self._heard = b""
        self._unsent = b""
        self._answered = False
        self._ended = False
        self._is_open = True
        self._go_on()

    def answer(self, answer: Answered) -> None:
        """Answer, once."""
        if self._is_open and not self._answered:
            self._answered = True
            self._unsent = _as_bytes(answer)
            self.until_s = time.monotonic() + LINGER_S
            self._go_on()

    def close(self) -> None:
        """Let it go."""
        if self._is_open:
            self._is_open = False
            self._loop.forget(self._connection)
            self._connection.close()
            self._stops.forget(self)

    def _ready(self, *, readable: bool, writable: bool) -> None:
        try:
            if writable:
                self._flush()
            if readable and self._is_open:
                self._read()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._connection.recv(_READ_BYTES)
        if not data:
            self._ended = True  # whoever has asked may close its side and still wait for the answer
            self._go_on()
        elif not self.has_asked:
            self._heard += data
            self._look_for_request()

    def _go_on(self) -> None:
        """Watch for what is still to come; without anything, let it go."""
        if self._ended and (not self.has_asked or (self._answered and not self._unsent)):
            self.close()
        else:
            reads, writes = not self._ended, bool(self._unsent)
            self._loop.watch(self._connection, Order.ESTOP, self._ready, reads=reads, writes=writes)

    def _look_for_request(self) -> None:
        line, found, _ = self._heard.lstrip(b"\r\n").partition(b"\n")
        if not found and len(self._heard) <= MAX_LINE_BYTES:
            return
        self.has_asked = True
        self._heard = b""
        self.until_s = time.monotonic() + REQUEST_TIMEOUT_S
        if not found:
            self.answer(_problem(400, f"A request's first line has at most {MAX_LINE_BYTES} bytes."))
            return
        answer = self._stops.asked(self, line.decode("latin-1"))
        if answer is not None:
            self.answer(answer)

    def _flush(self) -> None:
        """Send; then let the client have it and close by itself: closing on unread bytes would tear the answer."""
        self._unsent = self._unsent[self._connection.send(self._unsent) :]
        if not self._unsent:
            self._connection.shutdown(socket.SHUT_WR)
        self._go_on()


def _of_stop(room_id: str, stop: Stop) -> Answered:
    outcome = stop.outcome or "not-confirmed"
    return Answered(200, {"room_id": room_id, "outcome": outcome, "instruction": INSTRUCTIONS[outcome]})


def _as_bytes(answer: Answered) -> bytes:
    body = json.dumps(answer.body, ensure_ascii=False).encode()
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Methods: *",
        "Access-Control-Allow-Headers: *",
        "Connection: close",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _problem(status: int, detail: str) -> Answered:
    body: dict[str, Any] = {"title": _REASONS[status], "status": status, "detail": detail}
    return Answered(status, body)
