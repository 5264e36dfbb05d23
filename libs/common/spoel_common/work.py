"""One unit of work: load aggregates, decide, append their events, all in one write transaction.

A handler of a service::

    CASE = Aggregate("case", CaseState, domain.evolve, events.CATALOGUE)

    async def receive_referral(work: Work, command: ReceiveReferral) -> ReferralReceived:
        loaded = await work.load(CASE, command.case_id)
        decided = domain.decide(loaded.state, command, work.actor)
        await work.append(CASE, command.case_id, loaded, decided)
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common import tracing
from spoel_common.clock import Clock, utc_now
from spoel_common.events import Catalogue, Envelope, EventData
from spoel_common.ids import new_id
from spoel_common.people import Actor
from spoel_common.store import AggregateRef, Database, EventStore

S = TypeVar("S")


@dataclass(frozen=True)
class Aggregate(Generic[S]):
    """A kind of aggregate, declared once in a service's handlers.

    Attributes:
        name: aggregate type, for example ``case``.
        initial: makes the state before the first event.
        evolve: state and event → next state; pure.
        catalogue: the service's own events.
    """

    name: str
    initial: Callable[[], S]
    evolve: Callable[[S, EventData], S]
    catalogue: Catalogue[EventData]


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
            EventTooLarge: an event is larger than may be stored.
        """
        ids = [new_id() for _ in events] if event_ids is None else list(event_ids)
        envelopes = [
            self._envelope(aggregate.name, aggregate_id, version, event, event_id, room=room, simulated=simulated)
            for version, (event, event_id) in enumerate(zip(events, ids, strict=True), start=loaded.version + 1)
        ]
        about: tracing.Attributes = {"spoel.aggregate.type": aggregate.name, "spoel.event.count": len(envelopes)}
        with tracing.span("append", attributes=about):
            await self._store.append(self.conn, AggregateRef(aggregate.name, aggregate_id), loaded.version, envelopes)
        self.appended += len(envelopes)
        return Loaded(reduce(aggregate.evolve, events, loaded.state), loaded.version + len(envelopes))

    def _envelope(
        self,
        aggregate_type: str,
        aggregate_id: str,
        version: int,
        event: EventData,
        event_id: str,
        *,
        room: str | None,
        simulated: bool | None,
    ) -> Envelope:
        name = self._store.name
        return Envelope(
            id=event_id,
            source=name.source,
            type=event.event_type(),
            subject=aggregate_id,
            time=self.now,
            aggregatetype=aggregate_type,
            aggregateversion=version,
            correlationid=self.correlation_id,
            causationid=self.causation_id,
            traceparent=self.traceparent,
            actorid=self.actor.person_id,
            actorroles=",".join(sorted(self.actor.roles)),
            actorbig=self.actor.big_number,
            onbehalfof=self.actor.supervisor_id,
            supervisorid=self.actor.supervisor_id,
            site=name.site,
            room=room,
            simulated=simulated,
            data=event.model_dump(mode="json"),
        )


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

    async def load(self, aggregate: Aggregate[S], aggregate_id: str) -> Loaded[S]:
        """Return the aggregate as of now, for reading only."""
        async with self.database.read() as conn:
            return await _load(self.store, conn, aggregate, aggregate_id)


async def _load(store: EventStore, conn: AsyncConnection, aggregate: Aggregate[S], aggregate_id: str) -> Loaded[S]:
    state, version = aggregate.initial(), 0
    for envelope in await store.load(conn, AggregateRef(aggregate.name, aggregate_id)):
        event = aggregate.catalogue.decode(envelope)
        if event is None:
            raise UnknownOwnEvent(
                f"{envelope.type} of {aggregate.name} {aggregate_id} is in no catalogue of its service"
            )
        state, version = aggregate.evolve(state, event), envelope.aggregateversion
    return Loaded(state, version)
