"""The event store: append under an expected version, load an aggregate, read all events in order.

Order. On SQLite there is one writer, so ``position`` is the order of commits. On PostgreSQL writers commit in another
order than they draw positions, and a reader that follows ``position`` alone skips events. The order here is
``(xid, position)``, read only below ``pg_snapshot_xmin(pg_current_snapshot())``: no transaction below that horizon can
still commit. ``append`` refuses to write behind an aggregate's newest event in that order, so that the order keeps
every aggregate's versions in sequence.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import RowMapping, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Envelope
from spoel_common.store.database import Database
from spoel_common.store.job import (
    Append,
    NewAnswer,
    Row,
    all_there,
    archived_refusal,
    job_of,
    rows_of,
    version_conflict,
)
from spoel_common.store.names import AggregateRef, StoreName
from spoel_common.store.schema import events

_LOST_RACES = frozenset({"23505", "40001", "40P01"})
"""SQLSTATEs of unique violation, serialisation failure and deadlock."""

_READ_AFTER = {
    "sqlite": text("""
        SELECT position, 0 AS xid, id, aggregate_type, aggregate_id, version, type, raw FROM events
        WHERE position > :position ORDER BY position LIMIT :limit"""),
    "postgresql": text("""
        SELECT position, xid, id, aggregate_type, aggregate_id, version, type, raw FROM events
        WHERE (xid, position) > (CAST(CAST(:xid AS TEXT) AS xid8), :position)
          AND xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid, position LIMIT :limit"""),
}

_HEAD = {
    "sqlite": text("SELECT 0 AS xid, position FROM events ORDER BY position DESC LIMIT 1"),
    "postgresql": text("SELECT xid, position FROM events ORDER BY xid DESC, position DESC LIMIT 1"),
}

# On PostgreSQL a transaction draws its xid at its first write. If it read this aggregate only later, a transaction with
# a higher xid may have committed an earlier version of it; in order of xid the two versions would be swapped.
_LAST = {
    "sqlite": text("""
        SELECT version, 0 AS behind, EXISTS (
            SELECT 1 FROM archived WHERE aggregate_type = :type AND aggregate_id = :id) AS archived
        FROM events WHERE aggregate_type = :type AND aggregate_id = :id ORDER BY version DESC LIMIT 1"""),
    "postgresql": text("""
        SELECT version, xid > pg_current_xact_id() AS behind, EXISTS (
            SELECT 1 FROM archived WHERE aggregate_type = :type AND aggregate_id = :id) AS archived
        FROM events WHERE aggregate_type = :type AND aggregate_id = :id ORDER BY version DESC LIMIT 1"""),
}


class Cursor(NamedTuple):
    """A place in a store's order.

    Attributes:
        xid: PostgreSQL's transaction id (``xid8``); 0 on SQLite.
        position: the row's number.
    """

    xid: int
    position: int


START = Cursor(0, 0)
"""Before the first event."""


class StoredEvent(NamedTuple):
    """One row of ``events``.

    Attributes:
        raw: the envelope's bytes as serialised at append.
    """

    position: int
    xid: int
    id: str
    aggregate: AggregateRef
    version: int
    type: str
    raw: bytes

    @property
    def cursor(self) -> Cursor:
        """The place of this event in the store's order."""
        return Cursor(self.xid, self.position)


class EventStore:
    """The events of one store.

    Attributes:
        appended: set after every commit that appended events here; whoever waits for it clears it first.
    """

    def __init__(self, database: Database, name: StoreName) -> None:
        self.database = database
        self.name = name
        self.appended = asyncio.Event()

    async def load(self, conn: AsyncConnection, ref: AggregateRef, after_version: int = 0) -> list[Envelope]:
        """Return the aggregate's envelopes above ``after_version``, in order of version."""
        query = (
            select(events.c.raw)
            .where(events.c.aggregate_type == ref.type)
            .where(events.c.aggregate_id == ref.id)
            .where(events.c.version > after_version)
            .order_by(events.c.version)
        )
        return [Envelope.from_bytes(raw) for (raw,) in await conn.execute(query)]

    async def append(
        self, conn: AsyncConnection, ref: AggregateRef, expected_version: int, envelopes: Sequence[Envelope]
    ) -> None:
        """Append events of one aggregate within the caller's transaction.

        All of them already there with the same bytes: nothing is done.

        Args:
            conn: a connection of ``database.write()``.
            ref: the aggregate.
            expected_version: the version that the caller decided upon; 0 for a new aggregate.
            envelopes: versions ``expected_version + 1``, ``+ 2`` and so on, of this store and aggregate.

        Raises:
            VersionConflict: the aggregate has another version by now, or another writer was faster.
            AggregateArchived: the aggregate is closed for good.
            EventTooLarge: an envelope is larger than may be stored.
            ValueError: an envelope of another store, aggregate or version; a fault of the calling code.
        """
        if not envelopes:
            return
        rows = rows_of(self.name, Append(ref, expected_version, envelopes))
        last = (await conn.execute(_LAST[self.database.dialect], {"type": ref.type, "id": ref.id})).one_or_none()
        version = 0 if last is None else last.version
        if version != expected_version:
            found = await _found(conn, rows)
            if all_there(rows, found):
                return
            by_now = f"it is at version {version} by now, the request was decided at {expected_version}"
            raise version_conflict(ref, "an event id is already used by another event" if found else by_now)
        if last is not None and last.archived:
            raise archived_refusal(ref)
        if last is not None and last.behind:
            raise version_conflict(ref, "a request that began later was faster")
        try:
            await conn.execute(insert(events), [row._asdict() for row in rows])
        except DBAPIError as error:
            if not _is_lost_race(error):
                raise
            raise version_conflict(
                ref, "another request changed it at the same time, or an event id is already used"
            ) from error
        self.database.after_commit(conn, self.appended.set)

    async def append_now(self, appends: Sequence[Append], answer: NewAnswer | None = None) -> Cursor:
        """Append events in a transaction of their own and return when they are durable: the hot path.

        For whoever decides upon versions that it knows and has nothing else to write; many callers at once share a
        commit on SQLite. All events already there with the same bytes: nothing is done.

        Args:
            appends: of one or more aggregates, each once; all of them are stored or none is.
            answer: kept with the events, so that a repeated command gets it again.

        Returns:
            The place of the last event in the store's order.

        Raises:
            VersionConflict: an aggregate has another version by now.
            AggregateArchived: an aggregate is closed for good.
            AnswerExists: the answer's key is taken: a twin was faster.
            EventTooLarge: an envelope is larger than may be stored.
            ValueError: nothing to append, or an envelope of another store, aggregate or version.
            sqlalchemy.exc.DBAPIError, OSError: the database failed.
        """
        place = await self.database.appender.append(job_of(self.name, appends, answer))
        self.appended.set()
        return Cursor(*place)

    async def read_after(self, cursor: Cursor, limit: int) -> list[StoredEvent]:
        """Return up to ``limit`` events behind ``cursor``, in the store's order; none can appear before them later."""
        values = {"xid": str(cursor.xid), "position": cursor.position, "limit": limit}
        if self.database.dialect == "sqlite":
            del values["xid"]
        async with self.database.read() as conn:
            return [
                StoredEvent(position, xid, event_id, AggregateRef(aggregate_type, aggregate_id), version, kind, raw)
                for position, xid, event_id, aggregate_type, aggregate_id, version, kind, raw in await conn.execute(
                    _READ_AFTER[self.database.dialect], values
                )
            ]

    async def find(self, event_id: str) -> StoredEvent | None:
        """Return the event with this id, if the store has it."""
        async with self.database.read() as conn:
            row = (await conn.execute(select(events).where(events.c.id == event_id))).mappings().one_or_none()
        return None if row is None else _stored(row)

    async def head(self) -> Cursor:
        """Return the highest place in the store's order that is committed; ``START`` for an empty store.

        Whoever has read up to here knows everything that was committed when this was called.
        """
        async with self.database.read() as conn:
            return await self.head_seen_by(conn)

    async def head_seen_by(self, conn: AsyncConnection) -> Cursor:
        """Return the highest place that ``conn`` sees, its own transaction's appends included."""
        row = (await conn.execute(_HEAD[self.database.dialect])).one_or_none()
        return START if row is None else Cursor(row.xid, row.position)

    async def count(self) -> int:
        """Return how many events there are."""
        async with self.database.read() as conn:
            return (await conn.execute(select(func.count()).select_from(events))).scalar_one()


async def _found(conn: AsyncConnection, rows: Sequence[Row]) -> dict[str, bytes]:
    query = select(events.c.id, events.c.raw).where(events.c.id.in_([row.id for row in rows]))
    return {row.id: bytes(row.raw) for row in await conn.execute(query)}


def _is_lost_race(error: DBAPIError) -> bool:
    """Tell whether the database refused because of another event that is there: raced for, or of the same id."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate in _LOST_RACES or (sqlstate is None and "events are append-only: already there" in str(error.orig))


def _stored(row: RowMapping) -> StoredEvent:
    ref = AggregateRef(row["aggregate_type"], row["aggregate_id"])
    return StoredEvent(row["position"], row["xid"], row["id"], ref, row["version"], row["type"], bytes(row["raw"]))
