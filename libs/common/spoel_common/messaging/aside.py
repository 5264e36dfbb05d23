"""Events kept aside: rows of the table ``held``. What people do with them is in ``parked``."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.messaging.heads import FeedKey, digest_of
from spoel_common.store import AggregateRef, Database
from spoel_common.store.driver import Driver
from spoel_common.store.schema import held

LOAD_ASIDE = """
    SELECT aggregate_type, aggregate_id, count(*), state, version IS NULL FROM held
    WHERE projection = ?1 AND projection_version = ?2 AND source = ?3
    GROUP BY aggregate_type, aggregate_id, state, version IS NULL"""


class State(StrEnum):
    """Why an event is kept aside."""

    GAP = "gap"
    RETRY = "retry"
    BEHIND = "behind"
    PARKED = "parked"


class HeldEvent(NamedTuple):
    """An event kept aside.

    Attributes:
        version: None where the bytes are no envelope.
        stream_sequence: where it is in its store's stream.
        hash: SHA-256 of ``raw`` in hexadecimal.
        tries: how often it was tried.
    """

    held_id: int
    projection: str
    projection_version: int
    source: str
    aggregate: AggregateRef
    version: int | None
    state: State
    tries: int
    error: str
    raw: bytes
    stream_sequence: int
    hash: str
    held_at: datetime

    @property
    def key(self) -> FeedKey:
        """The feed that keeps it aside."""
        return (self.projection, self.projection_version, self.source)


class Aside:
    """The events that one transaction finds and keeps aside, for one projection and source.

    Attributes:
        count: how many there are; after ``load``.
    """

    def __init__(self, conn: AsyncConnection, key: FeedKey) -> None:
        self.count = 0
        self._conn = conn
        self._key = key
        self._states: dict[AggregateRef, set[State]] = {}
        self._invalid = 0

    @property
    def failing(self) -> int:
        """How many aggregates have an event that could not be applied; bytes that are no event count each."""
        return self._invalid + sum(bool(states - {State.GAP}) for states in self._states.values())

    async def load(self) -> None:
        """Read which aggregates have events aside, and why."""
        driver = await Driver.under(self._conn)
        self.fill(await driver.fetch(LOAD_ASIDE, *self._key))

    def fill(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take the rows of ``LOAD_ASIDE``."""
        for kind, aggregate_id, events, state, invalid in rows:
            self.count += events
            if invalid:
                self._invalid += events
            else:
                self._states.setdefault(AggregateRef(kind, aggregate_id), set()).add(State(state))

    def blocks(self, ref: AggregateRef) -> State | None:
        """Return the state in which a later event of the aggregate has to wait, or None where it need not."""
        states = self._states.get(ref, set())
        if State.PARKED in states:
            return State.PARKED
        return State.BEHIND if states & {State.RETRY, State.BEHIND} else None

    def has(self, ref: AggregateRef) -> bool:
        """Tell whether events of the aggregate are aside."""
        return ref in self._states

    async def put(
        self,
        ref: AggregateRef,
        version: int | None,
        raw: bytes,
        state: State,
        *,
        stream_sequence: int,
        error: str = "",
        try_at: datetime | None = None,
    ) -> None:
        """Keep an event aside, once."""
        projection, projection_version, source = self._key
        same = and_(of_aggregate(self._key, ref), held.c.hash == digest_of(raw))
        if (await self._conn.execute(select(held.c.held_id).where(same))).first() is not None:
            return
        values = {
            "projection": projection,
            "projection_version": projection_version,
            "source": source,
            "aggregate_type": ref.type,
            "aggregate_id": ref.id,
            "version": version,
            "stream_sequence": stream_sequence,
            "hash": digest_of(raw),
            "raw": raw,
            "state": state.value,
            "tries": 1 if error else 0,
            "try_at": try_at,
            "error": error,
            "held_at": datetime.now(UTC),
        }
        await self._conn.execute(insert(held).values(values))
        self.count += 1
        if version is None:
            self._invalid += 1
        else:
            self._states.setdefault(ref, set()).add(state)

    async def lowest(self, ref: AggregateRef) -> HeldEvent | None:
        """Return the aggregate's event with the lowest version; invalid ones do not count."""
        query = (
            select(held)
            .where(of_aggregate(self._key, ref))
            .where(held.c.version.is_not(None))
            .order_by(held.c.version, held.c.held_id)
            .limit(1)
        )
        row = (await self._conn.execute(query)).first()
        if row is None:
            self._states.pop(ref, None)
        return None if row is None else read_event(row)

    async def remove(self, event: HeldEvent) -> None:
        """Forget an event that was applied or turned out to be a duplicate."""
        await self._conn.execute(delete(held).where(held.c.held_id == event.held_id))
        self.count -= 1

    async def failed(self, event: HeldEvent, error: str, delays_s: Sequence[float], *, for_good: bool) -> bool:
        """Note that an event failed again; tell whether it and all behind it are parked now."""
        tries = event.tries + 1
        parked = for_good or tries > len(delays_s)
        later = State.PARKED if parked else State.BEHIND
        await self._mark(event.aggregate, later)
        values: dict[str, object] = {"tries": tries, "error": error}
        if not parked:
            values |= {"state": State.RETRY.value, "try_at": after_s(delays_s[tries - 1])}
        await self._conn.execute(update(held).where(held.c.held_id == event.held_id).values(values))
        self._states[event.aggregate] = {later}
        return parked

    async def gap(self, ref: AggregateRef) -> None:
        """Note that all events aside of the aggregate wait for one that has not come."""
        await self._mark(ref, State.GAP)
        self._states[ref] = {State.GAP}

    async def due(self) -> list[AggregateRef]:
        """Return the aggregates whose event is to be tried again now."""
        query = (
            select(held.c.aggregate_type, held.c.aggregate_id)
            .where(_of_feed(self._key))
            .where(held.c.state == State.RETRY.value)
            .where(held.c.try_at <= datetime.now(UTC))
            .distinct()
        )
        return [AggregateRef(row.aggregate_type, row.aggregate_id) for row in await self._conn.execute(query)]

    async def _mark(self, ref: AggregateRef, state: State) -> None:
        later = update(held).where(of_aggregate(self._key, ref)).where(held.c.version.is_not(None))
        await self._conn.execute(later.values(state=state.value, try_at=None))


def after_s(delay_s: float) -> datetime:
    """Return the moment ``delay_s`` seconds of wall time from now."""
    return datetime.now(UTC) + timedelta(seconds=delay_s)


async def list_held(database: Database, projection: str, projection_version: int) -> list[HeldEvent]:
    """Return all events that a projection keeps aside, by source and aggregate."""
    query = (
        select(held)
        .where(held.c.projection == projection)
        .where(held.c.projection_version == projection_version)
        .order_by(held.c.source, held.c.aggregate_type, held.c.aggregate_id, held.c.version.nulls_last())
        .order_by(held.c.held_id)
    )
    async with database.read() as conn:
        return [read_event(row) for row in await conn.execute(query)]


async def count_held(database: Database, projection: str, projection_version: int) -> dict[str, int]:
    """Return how many events a projection keeps aside, by state."""
    query = (
        select(held.c.state, func.count().label("events"))
        .where(held.c.projection == projection)
        .where(held.c.projection_version == projection_version)
        .group_by(held.c.state)
    )
    async with database.read() as conn:
        found = {row.state: int(row.events) for row in await conn.execute(query)}
    return {state.value: found.get(state.value, 0) for state in State}


def _of_feed(key: FeedKey) -> ColumnElement[bool]:
    projection, projection_version, source = key
    return and_(
        held.c.projection == projection, held.c.projection_version == projection_version, held.c.source == source
    )


def of_aggregate(key: FeedKey, ref: AggregateRef) -> ColumnElement[bool]:
    """Return the condition for the rows of one aggregate of a feed."""
    return and_(_of_feed(key), held.c.aggregate_type == ref.type, held.c.aggregate_id == ref.id)


def read_event(row: Row[tuple[object, ...]]) -> HeldEvent:
    """Return the event of a row of ``held``."""
    return HeldEvent(
        held_id=row.held_id,
        projection=row.projection,
        projection_version=row.projection_version,
        source=row.source,
        aggregate=AggregateRef(row.aggregate_type, row.aggregate_id),
        version=row.version,
        state=State(row.state),
        tries=row.tries,
        error=row.error,
        raw=bytes(row.raw),
        stream_sequence=row.stream_sequence,
        hash=row.hash,
        held_at=row.held_at,
    )
