"""One unit of work: load aggregates, decide, append their events, all in one write transaction.

A handler of a service::

    CASE = Aggregate("case", CaseState, domain.evolve, events.CATALOGUE)

    async def receive_referral(work: Work, command: ReceiveReferral) -> ReferralReceived:
        loaded = await work.load(CASE, command.case_id)
        decided = domain.decide(loaded.state, command, work.actor)
        await work.append(CASE, command.case_id, loaded, decided)

An aggregate that grows long has snapshots, one that ends is archived::

    SESSION = Aggregate("session", SessionState, evolve, CATALOGUE, Snapshots(SessionState, form=1), is_closed)
"""

import json
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, reduce
from typing import Any, Generic, TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common import tracing
from spoel_common.clock import Clock, utc_now
from spoel_common.events import Catalogue, Envelope, EventData
from spoel_common.ids import new_id
from spoel_common.people import Actor
from spoel_common.store import AggregateRef, Append, Database, EventStore, StoreName, snapshots

S = TypeVar("S")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Snapshots:
    """That, and how, an aggregate's state is kept every so many events.

    Attributes:
        model: the state's pydantic model.
        form: raised when ``evolve`` comes to give another state for the same events. The model's shape needs no
            raising: its schema is part of the form that is stored, and a snapshot of another form is not read.
        every: events between two snapshots.
    """

    model: type[BaseModel]
    form: int
    every: int = 100

    @cached_property
    def stored_form(self) -> int:
        """What tells these snapshots from those of another form or shape; 31 bits."""
        shape = json.dumps([self.form, self.model.model_json_schema()], sort_keys=True)
        return zlib.crc32(shape.encode()) & 0x7FFF_FFFF

    def due(self, before: int, after: int) -> bool:
        """Tell whether a snapshot is to be kept after appending from version ``before`` to ``after``."""
        return before // self.every != after // self.every


@dataclass(frozen=True)
class Aggregate(Generic[S]):
    """A kind of aggregate, declared once in a service's handlers.

    Attributes:
        name: aggregate type, for example ``case``.
        initial: makes the state before the first event.
        evolve: state and event → next state; pure.
        catalogue: the service's own events.
        snapshots: None where the aggregate stays short.
        is_closed: tells whether nothing can follow any more: then a final snapshot is kept, and the store refuses
            every further event (``AggregateArchived``). None where it never ends.
    """

    name: str
    initial: Callable[[], S]
    evolve: Callable[[S, EventData], S]
    catalogue: Catalogue[EventData]
    snapshots: Snapshots | None = None
    is_closed: Callable[[S], bool] | None = None

    def __post_init__(self) -> None:
        if self.is_closed is not None and self.snapshots is None:
            raise ValueError(f"aggregate {self.name!r} is archived with a final snapshot: it needs snapshots")


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """An aggregate's state and the version at which it is; 0 where it does not exist yet."""

    state: S
    version: int


class UnknownOwnEvent(Exception):
    """The store holds an event of an aggregate that its own catalogue does not know: a fault of the service's code."""


class Work:
    """A unit of work inside one write transaction.

    Attributes:
        conn: the transaction's connection, for the handler's own tables.
        actor: who asks.
        now: clock time at which the unit began, UTC.
        correlation_id: names the chain of acts to which this one belongs.
        causation_id: id of the event that caused it, if one did.
        traceparent: W3C trace context of this unit, or that which came with the request where tracing is off.
        appended: how many events it has appended.
    """

    def __init__(
        self,
        conn: AsyncConnection,
        store: EventStore,
        actor: Actor,
        now: datetime,
        *,
        correlation_id: str,
        causation_id: str | None = None,
        traceparent: str | None = None,
    ) -> None:
        self.conn = conn
        self.actor = actor
        self.now = now
        self.correlation_id = correlation_id
        self.causation_id = causation_id
        self.traceparent = traceparent
        self.appended = 0
        self._store = store

    def new_event_id(self) -> str:
        """Return an id for an event that must be known before it is appended, for sealing."""
        return new_id()

    async def load(self, aggregate: Aggregate[S], aggregate_id: str) -> Loaded[S]:
        """Return the aggregate as of now, this unit's own appends included."""
        return await _load(self._store, self.conn, aggregate, aggregate_id)

    async def append(
        self,
        aggregate: Aggregate[S],
        aggregate_id: str,
        loaded: Loaded[S],
        events: Sequence[EventData],
        *,
        event_ids: Sequence[str] | None = None,
        room: str | None = None,
        simulated: bool | None = None,
    ) -> Loaded[S]:
        """Append events behind ``loaded`` and return the state that they lead to.

        Args:
            aggregate: the kind of aggregate.
            aggregate_id: which of them.
            loaded: what ``load`` or the last ``append`` returned.
            events: what was decided; may be empty.
            event_ids: ids from ``new_event_id``, one an event.
            room: treatment room in which it happened.
            simulated: True where a simulator took part.

        Raises:
            VersionConflict: somebody else changed the aggregate in the meantime.
            AggregateArchived: the aggregate is closed.
            EventTooLarge: an event is larger than may be stored.
        """
        ids = [new_id() for _ in events] if event_ids is None else list(event_ids)
        stamp = _Stamp(self.actor, self.now, self.correlation_id, self.causation_id, self.traceparent, room, simulated)
        ref = AggregateRef(aggregate.name, aggregate_id)
        envelopes = _envelopes(self._store.name, stamp, ref, loaded.version, events, ids)
        about: tracing.Attributes = {"spoel.aggregate.type": aggregate.name, "spoel.event.count": len(envelopes)}
        with tracing.span("append", attributes=about):
            await self._store.append(self.conn, ref, loaded.version, envelopes)
        self.appended += len(envelopes)
        after = Loaded(reduce(aggregate.evolve, events, loaded.state), loaded.version + len(envelopes))
        if envelopes and aggregate.snapshots is not None:
            await self._keep_snapshot(aggregate, aggregate.snapshots, ref, loaded.version, after)
        return after

    async def _keep_snapshot(
        self, aggregate: Aggregate[S], how: Snapshots, ref: AggregateRef, before: int, after: Loaded[S]
    ) -> None:
        closed = aggregate.is_closed is not None and aggregate.is_closed(after.state)
        if not closed and not how.due(before, after.version):
            return
        state = how.model.model_validate(after.state).model_dump_json().encode()
        await snapshots.keep(self.conn, ref, snapshots.Snapshot(after.version, how.stored_form, state), self.now)
        if closed:
            await snapshots.archive(self.conn, ref, after.version, self.now)


@dataclass(frozen=True)
class _Stamp:
    """What the envelopes of one act have in common."""

    actor: Actor
    now: datetime
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    room: str | None = None
    simulated: bool | None = None


def _envelopes(
    name: StoreName, stamp: _Stamp, ref: AggregateRef, version: int, events: Sequence[EventData], ids: Sequence[str]
) -> list[Envelope]:
    """Return the envelopes of events of one aggregate behind ``version``."""
    actor = stamp.actor
    return [
        Envelope(
            id=event_id,
            source=name.source,
            type=event.event_type(),
            subject=ref.id,
            time=stamp.now,
            aggregatetype=ref.type,
            aggregateversion=number,
            correlationid=stamp.correlation_id,
            causationid=stamp.causation_id,
            traceparent=stamp.traceparent,
            actorid=actor.person_id,
            actorroles=",".join(sorted(actor.roles)),
            actorbig=actor.big_number,
            onbehalfof=actor.supervisor_id,
            supervisorid=actor.supervisor_id,
            site=name.site,
            room=stamp.room,
            simulated=stamp.simulated,
            data=event.model_dump(mode="json"),
        )
        for number, (event, event_id) in enumerate(zip(events, ids, strict=True), start=version + 1)
    ]


class UnitsOfWork:
    """Opens units of work on one store.

    Args:
        database: where the store lives.
        store: the service's event store.
        clock: stamps the events.
        on_appended: told after a commit how many events it stored.
    """

    def __init__(
        self,
        database: Database,
        store: EventStore,
        clock: Clock,
        on_appended: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self.database = database
        self.store = store
        self.clock = clock
        self._on_appended = on_appended

    @asynccontextmanager
    async def begin(
        self, actor: Actor, correlation_id: str, causation_id: str | None = None, traceparent: str | None = None
    ) -> AsyncIterator[Work]:
        """Open one unit of work: committed at the end of the block, rolled back on any exception.

        Args:
            actor: who asks.
            correlation_id: names the chain of acts.
            causation_id: id of the event that causes it, if one does.
            traceparent: the trace that it belongs to where no span is around it.
        """
        with tracing.span("unit of work", parent=traceparent) as made:
            async with self.database.write() as conn:
                work = Work(
                    conn,
                    self.store,
                    actor,
                    utc_now(self.clock),
                    correlation_id=correlation_id,
                    causation_id=causation_id,
                    traceparent=tracing.traceparent_of(made) or traceparent,
                )
                yield work
        self._on_appended(work.appended)

    async def record(
        self, aggregate: Aggregate[S], aggregate_id: str, events: Sequence[EventData], actor: Actor, correlation_id: str
    ) -> None:
        """Append the first events of a new aggregate, and return when they are durable.

        For what is only to be recorded, with nothing to decide upon and no list to keep: by the store's hot path,
        in which many callers share a commit.

        Args:
            aggregate: its kind; without snapshots.
            aggregate_id: a new one.
            events: at least one.
            actor: who did it.
            correlation_id: names the chain of acts.

        Raises:
            VersionConflict: the aggregate is there already.
            EventTooLarge: an event is larger than may be stored.
            sqlalchemy.exc.DBAPIError, OSError: the database failed.
        """
        ref = AggregateRef(aggregate.name, aggregate_id)
        with tracing.span("record") as made:
            stamp = _Stamp(actor, utc_now(self.clock), correlation_id, None, tracing.traceparent_of(made))
            envelopes = _envelopes(self.store.name, stamp, ref, 0, events, [new_id() for _ in events])
            await self.store.append_now([Append(ref, 0, envelopes)])
        self._on_appended(len(envelopes))

    async def load(self, aggregate: Aggregate[S], aggregate_id: str) -> Loaded[S]:
        """Return the aggregate as of now, for reading only."""
        async with self.database.read() as conn:
            return await _load(self.store, conn, aggregate, aggregate_id)


async def _load(store: EventStore, conn: AsyncConnection, aggregate: Aggregate[S], aggregate_id: str) -> Loaded[S]:
    ref = AggregateRef(aggregate.name, aggregate_id)
    start = Loaded(aggregate.initial(), 0)
    if aggregate.snapshots is not None:
        start = _restored(await snapshots.find(conn, ref), aggregate.snapshots, ref) or start
    state, version = start.state, start.version
    for envelope in await store.load(conn, ref, version):
        event = aggregate.catalogue.decode(envelope)
        if event is None:
            raise UnknownOwnEvent(
                f"{envelope.type} of {aggregate.name} {aggregate_id} is in no catalogue of its service"
            )
        state, version = aggregate.evolve(state, event), envelope.aggregateversion
    return Loaded(state, version)


def _restored(found: snapshots.Snapshot | None, how: Snapshots, ref: AggregateRef) -> Loaded[Any] | None:
    """Return what a snapshot holds; None where there is none, or none that this code can read."""
    if found is None or found.form != how.stored_form:
        return None
    try:
        return Loaded(how.model.model_validate_json(found.state), found.version)
    except ValidationError:
        _log.warning("snapshot-not-read", aggregate=ref.type, aggregate_id=ref.id, version=found.version)
        return None
