"""A room node: its rooms, opened and closed together with the service."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.clock import utc_now
from spoel_common.erasure import ErasureAnswers
from spoel_common.errors import NotFound, SpoelError
from spoel_common.events import Envelope, EventData, ForeignEvent
from spoel_common.messaging import BrokerAway, Bucket, FeedKnowledge, Projection
from spoel_common.runtime import Runtime, Unavailable
from spoel_common.store import StoreName
from spoel_stimulation import foreign_events, patient_days, projections, site
from spoel_stimulation.aggregates import SESSION
from spoel_stimulation.devices.transport import through_guard
from spoel_stimulation.domain.facts import NEEDED_SERVICES, Limits
from spoel_stimulation.domain.lists import rules
from spoel_stimulation.domain.reach import Reach
from spoel_stimulation.events import ErasureCompleted
from spoel_stimulation.events.base import Known
from spoel_stimulation.foreign_events.intake import PatientErased
from spoel_stimulation.foreign_events.rooms import AdverseEventReported
from spoel_stimulation.guard.settings import control_socket, data_socket
from spoel_stimulation.heart.recorder import HeartRecorder
from spoel_stimulation.heart.rules import heart_rules
from spoel_stimulation.heart.sources import source_of
from spoel_stimulation.leases import Leases
from spoel_stimulation.live import LiveBoard
from spoel_stimulation.makers import adapter_of
from spoel_stimulation.presence import Presences
from spoel_stimulation.runner import Room
from spoel_stimulation.runner.heart import RoomHeart
from spoel_stimulation.runner.kept_stops import KeptStops
from spoel_stimulation.runner.link import RoomDevice
from spoel_stimulation.settings import RoomSetting, StimulationSettings, cleared_list
from spoel_stimulation.strips import STRIP_TTL_S, Strips, bucket_name, room_key

Knowledge = Callable[[], tuple[Known, ...]]
_BLOCKS = f".{AdverseEventReported.event_name}.v"

STRIPS_EVERY_S = 2.0
"""How often a room looks for strips of its day that it has not yet: it may be cut off at any moment."""

STRIPS_ANEW_EVERY = 15
"""At every so manieth look the others are fetched again too: they may have been deleted."""

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
        live: what is shown of each room as it happens.
        leases: gives cancelled bookings back.
        presences: says which rooms are there.
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
        self.live: dict[str, LiveBoard] = {}
        self.own_rooms = frozenset(room.room_id for room in settings.rooms)
        self.leases = Leases(self.own_rooms)
        self.presences = Presences(
            settings.site,
            settings.store,
            every_s=settings.presence_every_s,
            ttl_s=settings.presence_ttl_s,
            replicas=settings.stream_replicas,
        )
        self._keys = {room.room_id: room_key(settings.data_dir, room.room_id) for room in settings.rooms}
        self._kept = {
            room.room_id: KeptStops(settings.data_dir / f"{room.room_id}-stops.json") for room in settings.rooms
        }
        self._cleared = cleared_list(settings)
        self._knowledge = knowledge
        self._fetch = fetch_strip
        self._bucket: Bucket | None = None
        self._source = StoreName(site=settings.site, service="stimulation", store=settings.store).source
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

    def site_projection(self) -> Projection:
        """Return the read model of what the other nodes of the site tell."""
        return Projection(
            name="site",
            version=1,
            services=("stimulation",),
            catalogue=foreign_events.SITE_CATALOGUE,
            apply=site.apply,
            after_commit=self._told_by_others,
            tables=site.SITE_TABLES,
            left_out=self._source,
        )

    async def keep_strips(self, runtime: Runtime) -> None:
        """Keep the sealed strips of the day's bookings at hand, for as long as they can be had."""
        for look in itertools.count():
            anew = look % STRIPS_ANEW_EVERY == 0
            async with runtime.database.read() as conn:
                booked = await site.bookings_of_the_day(conn, self.own_rooms, utc_now(runtime.clock))
            for room_id, strips in self.strips.items():
                try:
                    of_room = [booking.session_id for booking in booked if booking.room_id == room_id]
                    await strips.keep(of_room, anew=anew)
                except SpoelError as error:
                    _log.debug("strips.not-kept", room=room_id, reason=error.detail)
            await asyncio.sleep(STRIPS_EVERY_S)

    async def say_present(self, runtime: Runtime) -> None:
        """Say that the rooms of this node are there, until cancelled."""
        await self.presences.run(runtime, self.rooms)

    def projection_of_rooms(self) -> Projection:
        """Return the read model of what other nodes of stimulation gave to a patient, and what blocks one (HZ-16)."""
        return Projection(
            name="rooms",
            version=2,
            services=("stimulation",),
            catalogue=foreign_events.ROOMS,
            apply=self._apply_rooms,
            after_commit=self._applied_rooms,
            tables=patient_days.KNOWN_TABLES,
            left_out=self._source,
        )

    @asynccontextmanager
    async def open(self, runtime: Runtime) -> AsyncIterator[None]:
        """Make the rooms; they run as tasks of the runtime, and are disarmed and closed at the end."""
        for setting in self.settings.rooms:
            room = self._room(runtime, setting)
            self.rooms[setting.room_id] = room
            fetch = self._fetch or self._fetch_from(runtime)
            self.strips[setting.room_id] = Strips(setting.room_id, room.key, fetch)
            self.live[setting.room_id] = LiveBoard(room, runtime)
        try:
            yield
        finally:
            await asyncio.gather(*(board.close() for board in self.live.values()))
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

    async def room_for(self, runtime: Runtime, session_id: str) -> Room:
        """Return the room in which a session was opened, or for which it is booked.

        Raises:
            NotFound: neither, as far as this node knows.
        """
        async with runtime.database.read() as conn:
            booking = await projections.booking_of(conn, session_id)
        room = None if booking is None else self.rooms.get(booking.room_id)
        return room or await self.room_of(runtime, session_id)

    def look_again(self) -> None:
        """Have every room look at its interlocks: something that is known has changed."""
        for room in self.rooms.values():
            room.interlocks.look_again()

    async def _apply(
        self, conn: AsyncConnection, envelope: Envelope, event: EventData | ForeignEvent | None, raw: bytes
    ) -> None:
        if isinstance(event, PatientErased):
            cleared = await projections.clear_patient(conn, event.patient_id)
            await self.erasures.note(conn, envelope, event.patient_id, cleared)
        else:
            await projections.apply(conn, envelope, event, raw)

    async def _told_by_others(self, _envelopes: list[Envelope]) -> None:
        self.look_again()

    async def _apply_rooms(
        self, conn: AsyncConnection, envelope: Envelope, event: EventData | ForeignEvent | None, raw: bytes
    ) -> None:
        del raw
        if envelope.source != self._source:  # its own events are kept in the transaction of their append
            await patient_days.keep_known(conn, envelope.id, event, envelope.time)

    async def _applied_rooms(self, envelopes: list[Envelope]) -> None:
        if any(envelope.source != self._source and _BLOCKS in envelope.type for envelope in envelopes):
            self.look_again()

    async def _applied(self, envelopes: list[Envelope]) -> None:
        self.look_again()
        self.leases.look_again()
        await self.erasures.after_commit(envelopes)

    async def _clear_strips(self, runtime: Runtime, patient_id: str) -> dict[str, int]:
        """Delete what may be left of a patient in the bucket of strips; intake deletes there too."""
        async with runtime.database.read() as conn:
            keys = await projections.strip_keys_of(conn, patient_id)
        bucket = await self._strips_bucket(runtime) if keys else None
        found = 0
        for key in keys:
            room_id, _, session_id = key.partition(".")
            if room_id in self.strips:
                self.strips[room_id].drop(session_id)
            if bucket is not None and await bucket.get(key) is not None:
                await bucket.delete(key)
                found += 1
        return {"identity-strips": found}

    def _room(self, runtime: Runtime, setting: RoomSetting) -> Room:
        settings, room_id, guarded = self.settings, setting.room_id, self._guard_of(setting)
        limits = Limits(
            max_knowledge_age_s=settings.max_knowledge_age_s,
            max_offline_age_s=settings.max_offline_age_s,
            grant_s=settings.grant_s,
            max_status_age_s=settings.max_status_age_s,
            max_autonomous_s=settings.max_autonomous_s,
            max_presence_age_s=settings.max_presence_age_s or rules().presence.every_s,
            cleared=self._cleared,
        )
        return Room(
            setting.room_id,
            settings.site,
            self._device(runtime, setting),
            runtime.units,
            runtime.clock,
            knowledge=self._knowledge or (lambda: known_of(runtime)),
            reach=lambda: reach_of(runtime, self.own_rooms),
            limits=limits,
            key=self._keys[setting.room_id],
            heart=RoomHeart(self._belt(runtime, setting), heart_rules()),
            kept=self._kept[room_id],
            guard=None if guarded is None else (control_socket(guarded, room_id), setting.address),
            losses=self._losses,
        )

    def _losses(self) -> frozenset[str]:
        """Return the sessions of this node whose patient lost consciousness, and whose journal does not say so yet."""
        return frozenset().union(*(kept.lost for kept in self._kept.values()))

    def _device(self, runtime: Runtime, setting: RoomSetting) -> RoomDevice:
        guarded, address = self._guard_of(setting), setting.address
        if guarded is not None:
            address = through_guard(data_socket(guarded, setting.room_id), address)
        return adapter_of(setting, address, runtime.clock, clinical=self.settings.clinical)

    def _guard_of(self, setting: RoomSetting) -> Path | None:
        """Return the directory of a room's guard; a device that is set by hand has none."""
        return None if setting.device == "manual" else self.settings.guard_dir

    def _belt(self, runtime: Runtime, setting: RoomSetting) -> HeartRecorder | None:
        if setting.heart_address is None:
            return None
        source = source_of(setting.heart_address)
        return HeartRecorder(source, runtime.clock, heart_rules().belt, clinical=self.settings.clinical)

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


def reach_of(runtime: Runtime, own_rooms: frozenset[str]) -> Reach:
    """Return what the node has of the world outside, by the runtime's connection and consumers."""
    needed = runtime.knowledge(NEEDED_SERVICES)
    return Reach(
        connected=runtime.broker is not None and runtime.broker.connected,
        aside=tuple(feed.source for feed in needed if _misses_something(feed)),
        own_rooms=own_rooms,
        nodes={feed.source: feed.age_s for feed in runtime.knowledge(("stimulation",))},
    )


def _misses_something(feed: FeedKnowledge) -> bool:
    return bool(feed.held) or feed.stopped is not None


def known_of(runtime: Runtime) -> tuple[Known, ...]:
    """Return how old the knowledge of each feed is, by the runtime's consumers."""
    return tuple(
        Known(source=feed.source, as_of=feed.as_of, age_s=feed.age_s) for feed in runtime.knowledge(NEEDED_SERVICES)
    )
