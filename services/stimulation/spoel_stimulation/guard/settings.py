"""Settings of a guard: the same variables as the stimulation service reads, so that the two cannot disagree."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spoel_stimulation.guard.makers import MAKERS, UNGUARDED

_ROOM_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ADDRESS = re.compile(r"(/dev/\S+|socket://\S+)")
_LONGEST_ROOM_ID = 40
_LAST_PORT = 65_535


class WrongSetting(Exception):
    """A setting with which no guard can run; says which, and what is wrong."""


class GuardRoom(NamedTuple):
    """One room.

    Attributes:
        room_id: its name.
        device: the maker whose protocol its device speaks.
        address: of the device: a serial port's path, or ``socket://host:port``.
    """

    room_id: str
    device: str
    address: str


class GuardSettings(NamedTuple):
    """What a guard reads at start.

    Attributes:
        rooms: ``SPOEL_ROOMS``, a JSON list.
        directory: ``SPOEL_GUARD_DIR``: its sockets and files, for its user alone.
        bind: ``SPOEL_GUARD_BIND``: where the emergency stop listens; in a clinic the room's own network.
        port: ``SPOEL_GUARD_PORT``; 0 for any free one.
        clock: ``SPOEL_CLOCK`` as utc_ns, monotonic_ns and speed, for the times in its files; None for real time.
    """

    rooms: tuple[GuardRoom, ...]
    directory: Path
    bind: str = "127.0.0.1"
    port: int = 8113
    clock: tuple[int, int, float] | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "GuardSettings":
        """Read the settings.

        Raises:
            WrongSetting: says which is wrong, and how.
        """
        directory = environment.get("SPOEL_GUARD_DIR")
        if not directory:
            raise WrongSetting("SPOEL_GUARD_DIR is not set: where the guard keeps its sockets and its files.")
        return cls(
            rooms=_rooms(environment.get("SPOEL_ROOMS", "")),
            directory=Path(directory),
            bind=environment.get("SPOEL_GUARD_BIND", "127.0.0.1"),
            port=_port(environment.get("SPOEL_GUARD_PORT", "8113")),
            clock=_clock(environment.get("SPOEL_CLOCK", "")),
        )


def _rooms(text: str) -> tuple[GuardRoom, ...]:
    try:
        given = json.loads(text)
        named = [GuardRoom(room["room_id"], room.get("device", "magpro"), room["address"]) for room in given]
        rooms = tuple(room for room in named if room.device not in UNGUARDED)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WrongSetting(f"SPOEL_ROOMS is not a JSON list of rooms with room_id and address ({error!r}).") from None
    if not rooms:
        raise WrongSetting(
            "SPOEL_ROOMS names no room with a device that a guard can stop: no room, or only manual ones."
        )
    for room in rooms:
        _check(room)
    for field in ("room_id", "address"):
        values = [getattr(room, field) for room in rooms]
        if len(set(values)) != len(values):
            raise WrongSetting(f"SPOEL_ROOMS: two rooms have the same {field}.")
    return rooms


def _check(room: GuardRoom) -> None:
    if not _ROOM_ID.fullmatch(str(room.room_id)) or len(room.room_id) > _LONGEST_ROOM_ID:
        raise WrongSetting(f"SPOEL_ROOMS: {room.room_id!r} is no room's name; use small letters, digits and hyphens.")
    if not _ADDRESS.fullmatch(str(room.address)):
        raise WrongSetting(f"SPOEL_ROOMS: {room.address!r} is no address; give /dev/… or socket://host:port.")
    if room.device not in MAKERS:
        raise WrongSetting(f"SPOEL_ROOMS: no guard for device {room.device!r}. There is one for {', '.join(MAKERS)}.")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise WrongSetting(f"SPOEL_GUARD_PORT is {text!r}; give a port from 0 (any free one) to {_LAST_PORT}.")
    return int(text)


def _clock(text: str) -> tuple[int, int, float] | None:
    if not text:
        return None
    try:
        given = json.loads(text)
        return int(given["utc_ns"]), int(given["monotonic_ns"]), float(given["speed"])
    except (ValueError, TypeError, KeyError) as error:
        raise WrongSetting(f"SPOEL_CLOCK is no clock ({error!r}).") from None


def data_socket(directory: Path, room_id: str) -> Path:
    """Return where a room's process and its device talk to each other."""
    return directory / f"{room_id}.data"


def control_socket(directory: Path, room_id: str) -> Path:
    """Return where a room's process and its guard do."""
    return directory / f"{room_id}.control"


def file_of(directory: Path, room_id: str) -> Path:
    """Return where the guard keeps what it did."""
    return directory / f"{room_id}.jsonl"
