"""The control connection: heartbeats, stops and releases of the room's process, and what it is told.

JSON lines over a Unix socket. The room's process says ``hello`` with up to where it has recorded what the guard did,
then ``beat`` four times a second, ``stop`` and ``release``. It is told ``welcome``, ``held`` at once when there is a
stop or another hold, and each outcome that it has to record, until it says that it has.
"""

import contextlib
import json
import socket
from pathlib import Path
from typing import Any, Protocol

from spoel_stimulation.guard.loop import Loop, Order
from spoel_stimulation.guard.pipe import Door, Pipe
from spoel_stimulation.guard.record import Line, Record
from spoel_stimulation.guard.stops import Stop

MAX_LINE_BYTES = 4_096


class Guarding(Protocol):
    """What the room's process may ask for."""

    room_id: str

    @property
    def held(self) -> int | None:
        """Number of the latest hold; None where firing frames pass."""

    @property
    def device(self) -> str:
        """The device's address."""

    @property
    def outcomes_to_come(self) -> tuple[int, ...]:
        """Numbers of the stops whose outcome is not known yet."""

    @property
    def hears_room_process(self) -> bool:
        """It has not been silent for long."""

    def beat(self) -> None:
        """The room's process is alive."""

    def stop(self, reason: str, by: str, answer: None = None, *, request: str = "") -> Stop:
        """Disarm now."""

    def release(self, number: int) -> str | None:
        """Let firing frames pass again; returns why not, where that may not be."""


class Control:
    """The door at which the room's process controls its guard; there is room for one.

    Args:
        path: of the socket.
        loop: whose thread does everything.
        room: what is controlled.
        record: the room's file.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, path: Path, loop: Loop, room: Guarding, record: Record) -> None:
        self._loop = loop
        self._room = room
        self._record = record
        self._client: Pipe | None = None
        self._begun = b""
        self._door = Door(path, loop, Order.CONTROL, self._came)

    def held(self, number: int, stop: Stop | None) -> None:
        """Tell at once of a hold."""
        facts = {} if stop is None else _facts_of(stop)
        self._say({"held": number, **facts})

    def tell(self, line: Line) -> None:
        """Hand over something that is to be recorded."""
        self._say({"record": line})

    def close(self) -> None:
        """Let go."""
        self._door.close()
        if self._client is not None:
            self._client.close()

    def _came(self, connection: socket.socket) -> None:
        """Take it, unless another is there and alive; what an earlier one asked for is done first."""
        if self._client is not None:
            self._client.hear_out()
        if self._client is not None and self._room.hears_room_process:
            connection.close()
            return
        if self._client is not None:
            self._client.close()
        self._begun = b""
        self._client = Pipe(connection, self._loop, Order.CONTROL, self._heard, self._gone, hears_out=True)

    def _gone(self) -> None:
        self._client = None

    def _heard(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self._do(json.loads(line))
        if len(self._begun) > MAX_LINE_BYTES and self._client is not None:
            self._client.close()

    def _do(self, asked: dict[str, Any]) -> None:
        if "stop" in asked:
            self._room.stop("emergency", "room", request=str(asked["stop"]))
        elif "release" in asked:
            number = int(asked["release"])
            self._say({"released": number, "why_not": self._room.release(number)})
        elif "beat" in asked:
            self._room.beat()
            self._say({"beat": asked["beat"]})
        elif "hello" in asked:
            self._welcome(asked["hello"])

    def _welcome(self, hello: dict[str, Any]) -> None:
        room, record = self._room, self._record
        room.beat()
        after = int(hello["after"]) if hello.get("file") == record.file_id else 0
        to_tell = [line for line in record.told if line["n"] > after]
        to_come = [*(line["of"] for line in to_tell), *room.outcomes_to_come]
        said = {"welcome": room.room_id, "file": record.file_id, "device": room.device, "held": room.held}
        self._say({**said, "to_come": to_come})
        for line in to_tell:
            self.tell(line)

    def _say(self, what: dict[str, Any]) -> None:
        if self._client is not None:
            self._client.send(json.dumps(what).encode() + b"\n")


def _facts_of(stop: Stop) -> dict[str, Any]:
    return {
        "reason": stop.reason,
        "armed": stop.armed,
        "request": stop.request,
        "by": stop.by,
        "utc_ns": stop.began_utc_ns,
    }
