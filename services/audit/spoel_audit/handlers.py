"""The sequencer: gives every event that arrives its place in the log, inside the consumer's transaction."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_audit.domain import Arrival, LogRecord, event_name, take_in
from spoel_audit.entry import SALT_BYTES
from spoel_audit.merkle import CompactRange
from spoel_audit.tables import TREE_ROW, log_content, log_entry, log_index, log_tree, microseconds
from spoel_common.clock import Clock, utc_now

MAX_CELL_CHARACTERS = 200

_COUNT_EVENTS = text(
    "INSERT INTO log_feed (source, events) VALUES (:source, :events) "
    "ON CONFLICT (source) DO UPDATE SET events = log_feed.events + excluded.events"
)


def random_salt() -> bytes:
    """Return 32 bytes from the operating system's random source."""
    return os.urandom(SALT_BYTES)


class LogDamaged(OSError):
    """The tree's state is not that of the log's entries: nothing can be appended until a person has looked.

    An ``OSError``, like every failure underneath that no event is to blame for: the feeds wait and say why, and no
    event is parked.
    """


class Sequencer:
    """Appends events to the log.

    The row of the tree's state is locked from the first statement to the end of the caller's transaction: however
    many feeds and processes append at once, sequences follow the order of commits and have no gaps, and what a
    transaction that fails took is given again. (SQLite's one writer does the same by itself.)

    Args:
        clock: says when an event was recorded.
        new_salt: gives 32 fresh random bytes.
    """

    def __init__(self, clock: Clock, new_salt: Callable[[], bytes] = random_salt) -> None:
        self._clock = clock
        self._new_salt = new_salt

    async def append(self, conn: AsyncConnection, arrivals: Sequence[Arrival]) -> None:
        """Append events that the log does not have yet, in their order.

        Args:
            conn: a connection in a write transaction, which the caller commits.
            arrivals: up to some hundreds of events.

        Raises:
            EntryTooLarge: an event's entry does not fit into an entry bundle.
            LogDamaged: the tree's state was changed from outside.
            sqlalchemy.exc.IntegrityError: the log already has an event with one of these ids.
        """
        if not arrivals:
            return
        log = await self._locked_log(conn)
        salts = [self._new_salt() for _ in arrivals]
        grown, records = take_in(log, arrivals, salts, utc_now(self._clock))
        await conn.execute(insert(log_entry), [_entry_row(record) for record in records])
        await conn.execute(insert(log_content), [_content_row(record) for record in records])
        await conn.execute(insert(log_index), [_index_row(record) for record in records])
        await conn.execute(
            update(log_tree).where(log_tree.c.id == TREE_ROW).values(size=grown.size, peaks=grown.to_bytes())
        )
        counts = Counter(_cell(arrival.envelope.source) for arrival in arrivals)
        await conn.execute(_COUNT_EVENTS, [{"source": source, "events": count} for source, count in counts.items()])

    @staticmethod
    async def _locked_log(conn: AsyncConnection) -> CompactRange:
        state = select(log_tree.c.size, log_tree.c.peaks).where(log_tree.c.id == TREE_ROW).with_for_update()
        size, peaks = (await conn.execute(state)).one()
        last = (await conn.execute(select(func.max(log_entry.c.sequence)))).scalar_one()
        if size != (0 if last is None else last + 1):
            raise LogDamaged(f"the tree has {size} leaves, the log's last sequence is {last}")
        try:
            return CompactRange.from_bytes(size, peaks)
        except ValueError as error:
            raise LogDamaged(f"the tree's state cannot be read: {error}") from error


def _entry_row(record: LogRecord) -> dict[str, Any]:
    return {
        "sequence": record.sequence,
        "event_id": _cell(record.arrival.envelope.id),
        "entry": record.entry,
        "leaf_hash": record.leaf_hash,
    }


def _content_row(record: LogRecord) -> dict[str, Any]:
    return {"sequence": record.sequence, "salt": record.salt, "event_bytes": record.arrival.event_bytes}


def _index_row(record: LogRecord) -> dict[str, Any]:
    envelope = record.arrival.envelope
    return {
        "sequence": record.sequence,
        "type": _cell(envelope.type),
        "name": _cell(event_name(envelope.type)),
        "service": envelope.source.split("/")[3],
        "source": _cell(envelope.source),
        "aggregate": _cell(envelope.aggregatetype),
        "subject": _cell(envelope.subject),
        "version": envelope.aggregateversion,
        "case_id": record.pseudonyms.case,
        "patient_id": record.pseudonyms.patient,
        "session_id": record.pseudonyms.session,
        "room_id": record.pseudonyms.room,
        "person_id": _cell(envelope.actorid),
        "supervisor_id": None if envelope.supervisorid is None else _cell(envelope.supervisorid),
        "occurred_us": microseconds(envelope.time),
        "recorded_us": microseconds(record.recorded),
    }


def _cell(value: str) -> str:
    """Return what a column and its index can hold of any text; the entry and the event's bytes have all of it."""
    return value[:MAX_CELL_CHARACTERS].replace("\x00", "\ufffd")
