"""The relay: publishes what lies past its cursor in SQL, in order, none twice, none lost.

SQL holds the truth; the cursor row is a memory of how far the stream is, and the stream's own last message corrects
it. Every first message of a batch carries the sequence behind which it must land, so a relay that was stopped and
wakes up cannot publish behind its successor. After a conflict, a duplicate, a missing answer, and at start, it reads
where the stream is and goes on from there; it never publishes blindly. It may be killed at any instruction.
"""

import asyncio
import itertools
import time

import nats.errors
import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.cancellation import keeping_cancellation
from spoel_common.messaging.broker import Broker, BrokerAway
from spoel_common.messaging.publish import NotPublished, publish_batch
from spoel_common.messaging.streams import StreamUnsafe, ensure_stream, last_message
from spoel_common.store import START, Cursor, EventStore, Leadership, StoredEvent, leadership, upsert
from spoel_common.store.schema import relay_cursor

_log = structlog.get_logger(__name__)

BATCH_EVENTS = 250
BATCH_BYTES = 1_000_000
_POLL_S = 0.5
_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_FOLLOWS_AFTER_S = 1.0


class StreamAhead(Exception):
    """The stream ends with an event that the store does not have: another database, or one restored from the past."""


class Relay:
    """Publishes one store's events to its stream.

    Attributes:
        problem: why nothing is published at the moment, or None.
        follows: whether another process of the service leads, and this one waits to take over.
    """

    def __init__(self, store: EventStore, broker: Broker, replicas: int = 1) -> None:
        self.problem: str | None = "not started"
        self.follows = False
        self._store = store
        self._broker = broker
        self._replicas = replicas
        self._cursor = START
        self._sequence = 0
        self._task = f"relay:{store.name.source}"

    @property
    def cursor(self) -> Cursor:
        """The place in the store's order up to which this relay knows everything to be published."""
        return self._cursor

    async def run(self) -> None:
        """Publish until cancelled; wait for NATS, the database and leadership as long as it takes."""
        failures = itertools.count()
        while True:
            started_s = time.monotonic()
            waiting = asyncio.get_running_loop().call_later(_FOLLOWS_AFTER_S, self._note_following)
            try:
                async with keeping_cancellation(), leadership(self._store.database, self._task) as leader:
                    waiting.cancel()
                    self.follows = False
                    await self._lead(leader)
            except (BrokerAway, NotPublished, StreamUnsafe, StreamAhead, OSError) as error:
                self._report(error)
            except (nats.errors.Error, SQLAlchemyError) as error:
                self._report(error)
            finally:
                waiting.cancel()
            self.follows = False
            if time.monotonic() - started_s > _BACK_OFF_S[-1]:
                failures = itertools.count()
            await asyncio.sleep(_BACK_OFF_S[min(next(failures), len(_BACK_OFF_S) - 1)])

    async def push(self) -> int:
        """Publish the next batch behind the cursor; return how many events that were.

        Raises:
            NotPublished, nats.errors.Error, BrokerAway: see ``publish_batch``; call ``resume`` before the next.
        """
        batch = _up_to_bytes(await self._store.read_after(self._cursor, BATCH_EVENTS))
        if batch:
            self._sequence = await publish_batch(self._broker, self._store.name, batch, self._sequence)
            self._cursor = batch[-1].cursor
            await self._save()
        return len(batch)

    async def resume(self) -> None:
        """Make sure of the stream, and move the cursor to where the stream really is.

        Raises:
            StreamAhead: the stream's last event is not in the store.
            StreamUnsafe, nats.errors.Error, BrokerAway: see ``ensure_stream``.
        """
        await ensure_stream(self._broker, self._store.name, self._replicas)
        last = await last_message(self._broker, self._store.name)
        if last is None:
            self._cursor, self._sequence = START, 0
        else:
            event = await self._store.find(last.event_id)
            if event is None:
                raise StreamAhead(f"{self._store.name.stream} ends with {last.event_id}, which the store does not have")
            self._cursor, self._sequence = event.cursor, last.sequence
        saved = await read_cursor(self._store)
        if saved is not None and saved[0] != self._cursor:
            _log.info("relay-cursor-moved", store=self._store.name.source, saved=saved[0], stream=self._cursor)
        await self._save()

    async def _lead(self, leader: Leadership) -> None:
        await self.resume()
        self.problem = None
        while True:
            self._store.appended.clear()
            if await self.push() == 0:
                await self._wait_for_more()
            await leader.verify()

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(_POLL_S):
                await self._store.appended.wait()
        except TimeoutError:
            return  # other processes append too, and on PostgreSQL the horizon moves without a signal

    async def _save(self) -> None:
        values = {
            "source": self._store.name.source,
            "xid": self._cursor.xid,
            "position": self._cursor.position,
            "stream_sequence": self._sequence,
        }
        async with self._store.database.write() as conn:
            await upsert(conn, relay_cursor, [values])

    def _note_following(self) -> None:
        self.follows = True

    def _report(self, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        if problem != self.problem:
            _log.warning("relay-waits", store=self._store.name.source, problem=problem)
        self.problem = problem


async def read_cursor(store: EventStore) -> tuple[Cursor, int] | None:
    """Return the saved cursor of the store's relay and the stream sequence that belongs to it."""
    query = select(relay_cursor.c.xid, relay_cursor.c.position, relay_cursor.c.stream_sequence).where(
        relay_cursor.c.source == store.name.source
    )
    async with store.database.read() as conn:
        row = (await conn.execute(query)).one_or_none()
    return None if row is None else (Cursor(row.xid, row.position), row.stream_sequence)


def _up_to_bytes(events: list[StoredEvent]) -> list[StoredEvent]:
    sizes = itertools.accumulate(len(event.raw) for event in events)
    return [event for event, size in zip(events, sizes, strict=True) if size <= BATCH_BYTES or event is events[0]]
