"""The relay: publishes what lies past its cursor in SQL, in order, none twice, none lost.

SQL holds the truth; the cursor row is a memory of how far the stream is, and the stream's own last message corrects
it. Every first message of a batch carries the sequence behind which it must land, so a relay that was stopped and
wakes up cannot publish behind its successor. After a conflict, a duplicate, a missing answer, at start, and now and
then while there is nothing to do, it reads where the stream is and goes on from there; it never publishes blindly. It
may be killed at any instruction.

While a batch is on its way the next one is read and the cursor of the one before is saved. So the row lies up to
``_SAVE_EVERY_S`` behind the stream while events flow, and is exact when they do not; it never lies ahead.
"""

import asyncio
import itertools
import time
from collections import Counter
from typing import NamedTuple

import nats.errors
import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from spoel_common import tracing
from spoel_common.cancellation import keeping_cancellation
from spoel_common.messaging.broker import Broker, BrokerAway
from spoel_common.messaging.publish import Batch, NotPublished, Republication
from spoel_common.messaging.streams import StreamUnsafe, ensure_stream, last_message
from spoel_common.store import START, Cursor, EventStore, StoredEvent, leadership, upsert
from spoel_common.store.schema import events, relay_cursor

_log = structlog.get_logger(__name__)

BATCH_EVENTS = 500
BATCH_BYTES = 1_000_000
_READ_EVENTS = 1_000
_POLL_S = 0.5
_LOOK_EVERY_S = 5.0
_SAVE_EVERY_S = 1.0
_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_FOLLOWS_AFTER_S = 1.0


class StreamAhead(Exception):
    """The stream ends with an event that the store does not have: another database, or one restored from the past."""


class CursorTaken(Exception):
    """Another relay has saved a cursor since this one did: it leads by now."""


class NotPublishing(Exception):
    """This relay does not publish at the moment: another process may, or something is away."""


class SavedCursor(NamedTuple):
    """The row of a store's relay: everything up to ``cursor`` is in the stream, at or before ``sequence``."""

    cursor: Cursor
    sequence: int


class Relay:
    """Publishes one store's events to its stream.

    Args:
        store: whose events.
        broker: where to.
        replicas: of the stream.
        batch_events: how many events are published together, at most the server's limit of 1,000.

    Attributes:
        problem: why nothing is published at the moment, or None.
        follows: whether another process of the service leads, and this one waits to take over.
    """

    def __init__(
        self, store: EventStore, broker: Broker, replicas: int = 1, *, batch_events: int = BATCH_EVENTS
    ) -> None:
        self.problem: str | None = "not started"
        self.follows = False
        self._store = store
        self._broker = broker
        self._replicas = replicas
        self._batch_events = batch_events
        self._task = f"relay:{store.name.source}"
        self._at = SavedCursor(START, 0)
        self._saved = SavedCursor(START, 0)
        self._saved_s = 0.0
        self._looked_s = 0.0
        self._read: list[StoredEvent] = []
        self._next: Batch | None = None
        self._republication: Republication | None = None
        self._asked: int | None = None
        self._totals: Counter[str] = Counter()

    @property
    def cursor(self) -> Cursor:
        """The place in the store's order up to which this relay knows everything to be published."""
        return self._at.cursor

    def totals(self) -> dict[str, int]:
        """Return what happened since the start of this process: events, batches, failures."""
        return {kind: self._totals[kind] for kind in ("events", "batches", "failures")}

    async def run(self) -> None:
        """Publish until cancelled; wait for NATS, the database and leadership as long as it takes."""
        failures = itertools.count()
        while True:
            started_s = time.monotonic()
            waiting = asyncio.get_running_loop().call_later(_FOLLOWS_AFTER_S, self._note_following)
            try:
                async with keeping_cancellation(), leadership(self._store.database, self._task, self._store.appended):
                    waiting.cancel()
                    self.follows = False
                    await self._lead()
            except (BrokerAway, NotPublished, StreamUnsafe, StreamAhead, CursorTaken, OSError) as error:
                self._report(error)
            except (nats.errors.Error, SQLAlchemyError) as error:
                self._report(error)
            finally:
                waiting.cancel()
            self.follows = False
            if time.monotonic() - started_s > _BACK_OFF_S[-1]:
                failures = itertools.count()
            await asyncio.sleep(_BACK_OFF_S[min(next(failures), len(_BACK_OFF_S) - 1)])
            await self._broker.wait_connected()

    def republish_from(self, position: int) -> None:
        """Publish the events from this position on once more, with their stored bytes, then go on as normal.

        Consumers drop what they had and take what they had lost. What is asked is remembered in the stream, with the
        first batch: whoever resumes after that goes on with it.

        Raises:
            NotPublishing: nothing is done; ask the process that publishes, or later.
        """
        if self.problem is not None:
            raise NotPublishing(self.problem)
        self._asked = position if self._asked is None else min(position, self._asked)
        self._store.appended.set()

    async def push(self) -> int:
        """Publish the next batch behind the cursor; return how many events that were. After 0 the cursor is saved.

        Raises:
            NotPublished, nats.errors.Error, BrokerAway: see ``Batch.publish``; call ``resume`` before the next.
            CursorTaken: another relay has taken over.
        """
        batch = self._next or await self._read_on(self.cursor)
        if batch is None:
            await self.save()
            return 0
        began_ns = time.time_ns()
        sending = asyncio.create_task(batch.publish(self._broker, self._at.sequence))
        try:
            await _leave_to_others()
            self._next = await self._read_on(batch.events[-1].cursor)
            if time.monotonic() - self._saved_s > _SAVE_EVERY_S:
                await self.save()
            self._at = SavedCursor(batch.events[-1].cursor, await sending)
        finally:
            sending.cancel()
        self._totals.update(events=len(batch.events), batches=1)
        if tracing.on():
            tracing.published(batch.events, began_ns)
        return len(batch.events)

    async def resume(self) -> None:
        """Make sure of the stream, and move the cursor to where the stream really is.

        Raises:
            StreamAhead: the stream's last event is not in the store.
            StreamUnsafe, nats.errors.Error, BrokerAway: see ``ensure_stream``.
        """
        await ensure_stream(self._broker, self._store.name, self._replicas)
        last = await last_message(self._broker, self._store.name)
        if last is None:
            self._move_to(SavedCursor(START, 0), None)
        else:
            event = await self._store.find(last.event_id)
            if event is None:
                raise StreamAhead(f"{self._store.name.stream} ends with {last.event_id}, which the store does not have")
            self._move_to(SavedCursor(event.cursor, last.sequence), last.republication)
        self._looked_s = time.monotonic()
        saved = await read_cursor(self._store)
        if saved != self._at:
            if saved is not None:
                _log.info("relay-cursor-moved", store=self._store.name.source, saved=saved.cursor, stream=self.cursor)
            async with self._store.database.write() as conn:
                await upsert(conn, relay_cursor, [{"source": self._store.name.source, **_values(self._at)}])
        self._saved = self._at

    async def _lead(self) -> None:
        await self.resume()
        self.problem = None
        while True:
            self._store.appended.clear()
            if self._asked is not None:
                await self._republish(self._asked)
            elif await self.push() == 0:
                await self._wait_for_more()

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(_POLL_S):
                await self._store.appended.wait()
        except TimeoutError:  # other processes append too, and on PostgreSQL the horizon moves without a signal
            if time.monotonic() - self._looked_s > _LOOK_EVERY_S:
                await self.resume()

    async def _republish(self, position: int) -> None:
        """Go back and publish the first batch from there; from then on the stream itself tells of it."""
        query = (
            select(events.c.xid, events.c.position)
            .where(events.c.position >= position)
            .order_by(events.c.xid, events.c.position)
            .limit(1)
        )
        async with self._store.database.read() as conn:
            first = (await conn.execute(query)).one_or_none()
        if first is not None and (first.xid, first.position) <= self.cursor:
            before, until = Cursor(first.xid, first.position - 1), self.cursor
            if self._republication is not None:
                until = max(until, self._republication.until)
            _log.info("republishing", store=self._store.name.source, after=before, until=until)
            self._move_to(SavedCursor(before, self._at.sequence), Republication(self._at.sequence, until))
            await self.push()
        if self._asked == position:
            self._asked = None

    def _move_to(self, at: SavedCursor, republication: Republication | None) -> None:
        self._at = at
        self._republication = republication
        self._read, self._next = [], None

    async def _read_on(self, behind: Cursor) -> Batch | None:
        """Return the batch that follows ``behind``, or None."""
        found = self._read or await self._store.read_after(behind, _READ_EVENTS)
        if not found:
            return None
        sizes = itertools.accumulate(len(event.raw) for event in found[: self._batch_events])
        fitting = max(1, sum(size <= BATCH_BYTES for size in sizes))
        self._read = found[fitting:]
        return Batch(self._store.name, found[:fitting], self._republication)

    async def save(self) -> None:
        """Save the cursor.

        Raises:
            CursorTaken: another relay has saved one since this one did; nothing is changed.
        """
        at, saved = self._at, self._saved
        if at == saved:
            return
        statement = update(relay_cursor).where(relay_cursor.c.source == self._store.name.source)
        for column, value in _values(saved).items():
            statement = statement.where(relay_cursor.c[column] == value)
        async with self._store.database.write() as conn:
            if (await conn.execute(statement.values(_values(at)))).rowcount != 1:
                raise CursorTaken(f"the cursor of {self._store.name.source} is no longer at {saved}")
        self._saved, self._saved_s = at, time.monotonic()

    def _note_following(self) -> None:
        self.follows = True

    def _report(self, error: Exception) -> None:
        self._totals["failures"] += 1
        problem = f"{type(error).__name__}: {error}"
        if problem != self.problem:
            _log.warning("relay-waits", store=self._store.name.source, problem=problem)
        self.problem = problem


async def read_cursor(store: EventStore) -> SavedCursor | None:
    """Return the saved cursor of the store's relay and the stream sequence that belongs to it."""
    query = select(relay_cursor.c.xid, relay_cursor.c.position, relay_cursor.c.stream_sequence).where(
        relay_cursor.c.source == store.name.source
    )
    async with store.database.read() as conn:
        row = (await conn.execute(query)).one_or_none()
    return None if row is None else SavedCursor(Cursor(row.xid, row.position), row.stream_sequence)


async def _leave_to_others() -> None:
    """Let the task that sends hand its messages to the client, and the client to the socket."""
    for _ in range(3):
        await asyncio.sleep(0)


def _values(at: SavedCursor) -> dict[str, int]:
    return {"xid": at.cursor.xid, "position": at.cursor.position, "stream_sequence": at.sequence}
