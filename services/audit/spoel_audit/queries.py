"""What can be read of the log. A page is bound to a size of the log: what is appended meanwhile does not shift it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Row, Select, and_, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_audit.domain import event_name
from spoel_audit.merkle import CompactRange
from spoel_audit.tables import TREE_ROW, log_content, log_entry, log_feed, log_index, log_tree, microseconds
from spoel_common.store.schema import held

LOG_PROJECTION = "log"
"""Name of the projection that takes events in."""


class EventFilter(NamedTuple):
    """Which events are asked for; what is None, or empty, is not asked.

    Attributes:
        patients: all files of one person.
        type: an event's name (``train-delivered``) or its whole type (``spoel.stimulation.train-delivered.v1``).
        start: earliest time of the event itself.
        end: the time of the event itself is before this.
    """

    case: str | None = None
    patients: tuple[str, ...] = ()
    session: str | None = None
    room: str | None = None
    person: str | None = None
    type: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class LoggedEvent(NamedTuple):
    """One event as the log keeps it."""

    sequence: int
    entry: bytes
    leaf_hash: bytes
    salt: bytes | None
    event_bytes: bytes | None


async def read_log(conn: AsyncConnection) -> CompactRange:
    """Return the size and the peaks of the log's tree."""
    state = select(log_tree.c.size, log_tree.c.peaks).where(log_tree.c.id == TREE_ROW)
    size, peaks = (await conn.execute(state)).one()
    return CompactRange.from_bytes(size, peaks)


async def read_entries(conn: AsyncConnection, start: int, end: int) -> list[bytes]:
    """Return the raw entries of the sequences from ``start`` up to but without ``end``."""
    sequence = log_entry.c.sequence
    wanted = select(log_entry.c.entry).where(sequence >= start, sequence < end).order_by(sequence)
    return list((await conn.execute(wanted)).scalars())


async def read_event(conn: AsyncConnection, event_id: str) -> LoggedEvent | None:
    """Return the event with this id; its salt and bytes are None where they were destroyed."""
    entry, content = log_entry.c, log_content.c
    wanted = (
        select(entry.sequence, entry.entry, entry.leaf_hash, content.salt, content.event_bytes)
        .join_from(log_entry, log_content, entry.sequence == content.sequence, isouter=True)
        .where(entry.event_id == event_id)
    )
    row = (await conn.execute(wanted)).one_or_none()
    return None if row is None else LoggedEvent(*row)


async def read_page(
    conn: AsyncConnection, wanted: EventFilter, after: int, limit: int, size: int
) -> Sequence[Row[Any]]:
    """Return up to ``limit`` events in the order of the log: all columns of the index, event id and bytes.

    Args:
        conn: a connection in a read transaction.
        wanted: which events.
        after: only sequences above this; -1 for all.
        limit: most events.
        size: only sequences below this.
    """
    rows: Sequence[Row[Any]] = (await conn.execute(page_of(wanted, after, limit, size))).all()
    return rows


def page_of(wanted: EventFilter, after: int, limit: int, size: int) -> Select[Any]:
    """Return the statement of ``read_page``."""
    index = log_index.c
    return (
        select(log_index, log_entry.c.event_id, log_content.c.event_bytes)
        .join_from(log_index, log_entry, index.sequence == log_entry.c.sequence)
        .outerjoin(log_content, index.sequence == log_content.c.sequence)
        .where(and_(index.sequence > after, index.sequence < size, *_conditions(wanted)))
        .order_by(index.sequence)
        .limit(limit)
    )


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    index = log_index.c
    equal = {
        index.case_id: wanted.case,
        index.session_id: wanted.session,
        index.room_id: wanted.room,
        index.person_id: wanted.person,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if wanted.patients:
        conditions.append(index.patient_id.in_(wanted.patients))
    if wanted.type is not None:
        conditions.append(index.name == event_name(wanted.type))
        if event_name(wanted.type) != wanted.type:
            conditions.append(index.type == wanted.type)
    times = _times(wanted, log_index)
    if times and not conditions:
        # A subquery, or SQLite walks the whole log in its order rather than use the index of times.
        within = log_index.alias("within")
        return [index.sequence.in_(select(within.c.sequence).where(*_times(wanted, within)))]
    return conditions + times


def _times(wanted: EventFilter, index: FromClause) -> list[ColumnElement[bool]]:
    times = []
    if wanted.start is not None:
        times.append(index.c.occurred_us >= microseconds(wanted.start))
    if wanted.end is not None:
        times.append(index.c.occurred_us < microseconds(wanted.end))
    return times


async def read_session_events(conn: AsyncConnection, session_id: str, names: Sequence[str], size: int) -> list[bytes]:
    """Return the bytes of a session's events of these names, in the order of the log."""
    index = log_index.c
    wanted = (
        select(log_content.c.event_bytes)
        .join_from(log_index, log_content, index.sequence == log_content.c.sequence)
        .where(index.session_id == session_id, index.name.in_(names), index.sequence < size)
        .order_by(index.sequence)
    )
    return list((await conn.execute(wanted)).scalars())


async def knows_session(conn: AsyncConnection, session_id: str, size: int) -> bool:
    """Tell whether any event names this session."""
    index = log_index.c
    wanted = select(index.sequence).where(index.session_id == session_id, index.sequence < size).limit(1)
    return (await conn.execute(wanted)).first() is not None


async def read_log_by_source(conn: AsyncConnection) -> tuple[CompactRange, dict[str, int]]:
    """Return the log's tree and how many events of each store are in it: in one statement, so that they agree."""
    tree, feed = log_tree.c, log_feed.c
    wanted = (
        select(tree.size, tree.peaks, feed.source, feed.events)
        .join_from(log_tree, log_feed, true(), isouter=True)
        .where(tree.id == TREE_ROW)
        .order_by(feed.source)
    )
    rows = (await conn.execute(wanted)).all()
    log = CompactRange.from_bytes(rows[0].size, rows[0].peaks)
    return log, {row.source: row.events for row in rows if row.source is not None}


async def read_sizes(conn: AsyncConnection) -> tuple[int, int]:
    """Return the size that the tree's state has, and the number of entries by their last sequence."""
    entries = select(func.coalesce(func.max(log_entry.c.sequence) + 1, 0)).scalar_subquery()
    size, count = (await conn.execute(select(log_tree.c.size, entries).where(log_tree.c.id == TREE_ROW))).one()
    return size, count


class Aside(NamedTuple):
    """How many events have arrived and are not in the log.

    Attributes:
        held: they wait: for an earlier one of their aggregate, or for another try.
        parked: they could not be taken in and wait for a person.
    """

    held: int
    parked: int


async def count_aside(conn: AsyncConnection) -> Aside:
    """Return how many events have arrived and are not in the log."""
    counts = (
        select(held.c.state, func.count().label("events"))
        .where(held.c.projection == LOG_PROJECTION)
        .group_by(held.c.state)
    )
    by_state = {row.state: row.events for row in await conn.execute(counts)}
    parked = by_state.pop("parked", 0)
    return Aside(held=sum(by_state.values()), parked=parked)
