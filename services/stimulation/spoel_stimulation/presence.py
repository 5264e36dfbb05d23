"""Presence of rooms: each says every few seconds that it is there, in a bucket whose values expire by themselves.

For people to see, and for nothing else: no decision rests on it. What it says names no person.
"""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from spoel_common.events import UtcTime
from spoel_common.messaging import BrokerAway, Bucket
from spoel_common.runtime import Runtime
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.runner import Room

State = Literal["free", "in-session", "latched"]

_log = structlog.get_logger(__name__)


class Presence(BaseModel):
    """What a room says of itself.

    Attributes:
        node: the store of its node.
        phase: of its open session.
        since: when the room came into this state, wall time.
        said_at: when it said so, wall time of its machine.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    room_id: str
    node: str
    state: State
    session_id: str | None
    phase: Phase | None
    since: UtcTime
    device_ready: bool
    said_at: UtcTime


def bucket_name(site: str) -> str:
    """Return the name of the bucket in which a site's rooms are present."""
    return f"spoel-{site}-rooms"


def age_s(presence: Presence) -> float:
    """Return how long ago it was said, by the two machines' wall clocks; never below 0."""
    return max(0.0, (datetime.now(UTC) - presence.said_at).total_seconds())


class Presences:
    """Says that the rooms of this node are there, and reads who else is.

    Args:
        site: whose bucket.
        node: this node's store.
        every_s: how often it says so, in wall seconds.
        ttl_s: after how long without a word a room is absent; one for the whole site.
        replicas: copies of the bucket.
    """

    def __init__(self, site: str, node: str, *, every_s: float, ttl_s: float, replicas: int) -> None:
        self._name = bucket_name(site)
        self._node = node
        self._every_s = every_s
        self._ttl_s = ttl_s
        self._replicas = replicas
        self._bucket: Bucket | None = None
        self._since: dict[str, tuple[object, datetime]] = {}

    async def run(self, runtime: Runtime, rooms: dict[str, Room]) -> None:
        """Say it until cancelled; while NATS is away, nobody hears it and the room is absent."""
        while True:
            started_s = time.monotonic()
            try:
                bucket = await self._open(runtime)
                for room in rooms.values():
                    said = await self._of(room)
                    await bucket.put(room.room_id, said.model_dump_json().encode())
            except BrokerAway as error:
                _log.debug("presence.not-said", reason=str(error))
            await asyncio.sleep(max(0.0, started_s + self._every_s - time.monotonic()))

    async def read(self, runtime: Runtime, room_ids: list[str]) -> dict[str, Presence | None]:
        """Return what rooms say of themselves; None for one that is not heard of.

        Raises:
            BrokerAway: NATS is not reached: nothing is known of any.
        """
        bucket = await self._open(runtime)
        values = await asyncio.gather(*(bucket.get(room_id) for room_id in room_ids))
        return {room_id: _read(value) for room_id, value in zip(room_ids, values, strict=True)}

    async def _open(self, runtime: Runtime) -> Bucket:
        if runtime.broker is None or not runtime.broker.connected:
            raise BrokerAway("NATS is not connected")
        if self._bucket is None:
            self._bucket = await Bucket.open(runtime.broker, self._name, self._ttl_s, self._replicas)
        return self._bucket

    async def _of(self, room: Room) -> Presence:
        session = await room.journal.open_session()
        latched = (await room.state()).latch is not None
        state: State = "latched" if latched else "free" if session is None else "in-session"
        now = datetime.now(UTC)
        what = (state, _session_id(session), None if session is None else session.phase)
        if self._since.get(room.room_id, (None, now))[0] != what:
            self._since[room.room_id] = (what, now)
        return Presence(
            room_id=room.room_id,
            node=self._node,
            state=state,
            session_id=_session_id(session),
            phase=None if session is None else session.phase,
            since=self._since[room.room_id][1],
            device_ready=room.look().device.ready,
            said_at=now,
        )


def _session_id(session: SessionState | None) -> str | None:
    return None if session is None else session.session.session_id


def _read(value: bytes | None) -> Presence | None:
    if value is None:
        return None
    try:
        return Presence.model_validate_json(value)
    except ValidationError:
        _log.warning("presence.not-understood", value=json.dumps(value.decode(errors="replace"))[:200])
        return None
