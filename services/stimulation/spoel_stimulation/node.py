"""A room node: its rooms, opened and closed together with the service."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.erasure import ErasureAnswers
from spoel_common.errors import NotFound
from spoel_common.events import Envelope, EventData, ForeignEvent
from spoel_common.messaging import BrokerAway, Bucket, Projection
from spoel_common.runtime import Runtime, Unavailable
from spoel_stimulation import foreign_events, projections
from spoel_stimulation.devices.duomag.adapter import DuoMagAdapter
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.manual.adapter import ManualAdapter
from spoel_stimulation.devices.transport import through_guard
from spoel_stimulation.domain.conditions import NEEDED_SERVICES, Limits
from spoel_stimulation.events import ErasureCompleted, Known
from spoel_stimulation.guard.settings import control_socket, data_socket
from spoel_stimulation.handlers import SESSION
from spoel_stimulation.runner import Room
from spoel_stimulation.runner.link import RoomDevice
from spoel_stimulation.settings import RoomSetting, StimulationSettings, cleared_list
from spoel_stimulation.strips import STRIP_TTL_S, Strips, bucket_name, room_key

_ADAPTERS: dict[str, type[MagProAdapter | DuoMagAdapter]] = {"magpro": MagProAdapter, "duomag": DuoMagAdapter}
Knowledge = Callable[[], tuple[Known, ...]]

_log = structlog.get_logger(__name__)


class Node:
    """The rooms of this process.

    Args:
        settings: of the node.
        knowledge: how old the knowledge of each feed is; asked of the runtime's consumers if None.
        fetch_strip: reads a sealed strip; from the site's bucket if None.

    Attributes:
        rooms: by their names, while the service is open.
        strips: the strips of each room.
        erasures: what answers erasures for this node.
    """

    def __init__(
        self,
        settings: StimulationSettings,
        knowledge: Knowledge | None = None,
        fetch_strip: Callable[[str], Awaitable[bytes | None]] | None = None,
    ) -> None:
        self.settings = settings
        self.rooms: dict[str, Room] = {}
        self.strips: dict[str, Strips] = {}
        self._keys = {room.room_id: room_key(settings.data_dir, room.room_id) for room in settings.rooms}
        self._cleared = cleared_list(settings)
        self._knowledge = knowledge
        self._fetch = fetch_strip
        self._bucket: Bucket | None = None
        self.erasures = ErasureAnswers(ErasureCompleted, self._clear_strips)

    @property
    def body_hash_key(self) -> bytes:
        """Key of the hashes of commands' bodies: a confirmed name and birth date could be guessed from a bare hash."""
        private_keys = b"".join(self._keys[room_id].private_key for room_id in sorted(self._keys))
        return hashlib.sha256(b"spoel/body-hash/1\x00" + private_keys).digest()

    def projection(self) -> Projection:
        """Return the read model of what the rooms know of intake and planning."""
        return Projection(
            name="known",
            version=1,
            services=NEEDED_SERVICES,
            catalogue=foreign_events.CATALOGUE,
            apply=self._apply,
            after_commit=self._applied,
            tables=projections.KNOWN_TABLES,
        )

    @asynccontextmanager
    async def open(self, runtime: Runtime) -> AsyncIterator[None]:
        """Make the rooms; they run as tasks of the runtime, and are disarmed and closed at the end."""
        for setting in self.settings.rooms:
            room = self._room(runtime, setting)
            self.rooms[setting.room_id] = room
            fetch = self._fetch or self._fetch_from(runtime)
            self.strips[setting.room_id] = Strips(setting.room_id, room.key, fetch)
        try:
            yield
        finally:
            await asyncio.gather(*(room.close() for room in self.rooms.values()))

    async def run_room(self, room_id: str) -> None:
        """Run one room until cancelled."""
        await self.rooms[room_id].run()

    def room(self, room_id: str) -> Room:
        """Return a room of this node.

        Raises:
            NotFound: no such room.
        """
        room = self.rooms.get(room_id)
        if room is None:
            raise NotFound(f"This node has no room {room_id[:64]!r}. GET /rooms lists its rooms.")
        return room

    async def room_of(self, runtime: Runtime, session_id: str) -> Room:
        """Return the room in which a session was opened.

        Raises:
            NotFound: it was not opened on this node.
        """
        opened = (await runtime.units.load(SESSION, session_id)).state.opened
        if opened is None or opened.room_id not in self.rooms:
            raise NotFound(f"Session {session_id[:64]!r} was not opened on this node. Open it in its room first.")
        return self.rooms[opened.room_id]

    def look_again(self) -> None:
        """Have every room look at its interlocks: something that is known has changed."""
        for room in self.rooms.values():
            room.look_again()

    async def _apply(
        self, conn: AsyncConnection, envelope: Envelope, event: EventData | ForeignEvent | None, raw: bytes
    ) -> None:
        if isinstance(event, foreign_events.PatientErased):
            cleared = await projections.clear_patient(conn, event.patient_id)
            await self.erasures.note(conn, envelope, event.patient_id, cleared)
        else:
            await projections.apply(conn, envelope, event, raw)

    async def _applied(self, envelopes: list[Envelope]) -> None:
        self.look_again()
        await self.erasures.after_commit(envelopes)

    async def _clear_strips(self, runtime: Runtime, patient_id: str) -> dict[str, int]:
        """Delete what may be left of a patient in the bucket of strips; intake deletes there too."""
        async with runtime.database.read() as conn:
            keys = await projections.strip_keys_of(conn, patient_id)
        bucket = await self._strips_bucket(runtime) if keys else None
        found = 0
        for key in keys:
            if bucket is not None and await bucket.get(key) is not None:
                await bucket.delete(key)
                found += 1
        return {"identity-strips": found}

    def _room(self, runtime: Runtime, setting: RoomSetting) -> Room:
        settings, room_id, guarded = self.settings, setting.room_id, self._guard_of(setting)
        limits = Limits(
            max_knowledge_age_s=settings.max_knowledge_age_s,
            max_status_age_s=settings.max_status_age_s,
            max_autonomous_s=settings.max_autonomous_s,
            cleared=self._cleared,
        )
        return Room(
            setting.room_id,
            settings.site,
            self._device(runtime, setting),
            runtime.units,
            runtime.clock,
            knowledge=self._knowledge or (lambda: known_of(runtime)),
            limits=limits,
            key=self._keys[setting.room_id],
            guard=None if guarded is None else (control_socket(guarded, room_id), setting.address),
        )

    def _device(self, runtime: Runtime, setting: RoomSetting) -> RoomDevice:
        clinical, clock = self.settings.clinical, runtime.clock
        if setting.device == "manual":
            return ManualAdapter(setting.address, clock, clinical=clinical, model=setting.model, serial=setting.serial)
        guarded = self._guard_of(setting)
        address = (
            setting.address
            if guarded is None
            else through_guard(data_socket(guarded, setting.room_id), setting.address)
        )
        return _ADAPTERS[setting.device](address, clock, clinical=clinical)

    def _guard_of(self, setting: RoomSetting) -> Path | None:
        """Return the directory of a room's guard; a device that is set by hand has none."""
        return None if setting.device == "manual" else self.settings.guard_dir

    def _fetch_from(self, runtime: Runtime) -> Callable[[str], Awaitable[bytes | None]]:
        async def fetch(key: str) -> bytes | None:
            try:
                return await (await self._strips_bucket(runtime)).get(key)
            except (BrokerAway, TimeoutError) as error:
                _log.warning("strips.not-reached", reason=str(error))
                raise Unavailable("NATS did not answer.") from error

        return fetch

    async def _strips_bucket(self, runtime: Runtime) -> Bucket:
        if self._bucket is None:
            settings = self.settings
            self._bucket = await Bucket.open(
                runtime.require_broker(), bucket_name(settings.site), STRIP_TTL_S, settings.stream_replicas
            )
        return self._bucket


def known_of(runtime: Runtime) -> tuple[Known, ...]:
    """Return how old the knowledge of each feed is, by the runtime's consumers."""
    return tuple(
        Known(source=feed.source, as_of=feed.as_of, age_s=feed.age_s) for feed in runtime.knowledge(NEEDED_SERVICES)
    )
