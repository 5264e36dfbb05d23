"""The inbox: every event of a feed is applied to a projection once and in its aggregate's order, or is kept aside.

One transaction takes in a batch: the inbox's rows, the read model and the checkpoint. An event with

* version = last + 1 is applied;
* version ≤ last is dropped, with an alarm if its bytes are not those that were applied;
* version > last + 1 is held until the gap fills.

An event that cannot be applied is retried with growing pauses, then parked; the later ones of its aggregate wait
behind it, all others go on. Bytes that are no envelope of this feed are parked at once. The table ``held`` has them,
with a state: ``gap`` (an earlier version has not come), ``retry`` (tried again at ``try_at``), ``behind`` (waits behind
a ``retry``), ``parked`` (given up until somebody replays it, or behind such a one).
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Envelope, NewerVersion
from spoel_common.messaging.aside import Aside
from spoel_common.messaging.projection import Projection
from spoel_common.messaging.pull import Delivery
from spoel_common.messaging.taking import Came, RecordGap, Taking, Terms, TooManyFail, TryCarefully
from spoel_common.store import START, Cursor, Database
from spoel_common.store.driver import Driver
from spoel_common.store.schema import feeds, held, serving

_log = structlog.get_logger(__name__)

RETRY_DELAYS_S = (0.5, 2.0, 5.0, 15.0, 30.0)
FAILING_LIMIT = 20
"""How many aggregates of a feed may have an event that failed. A few are faults of single events, which people look at
one by one; as many as this are a fault of the code, and it must not put the whole stream aside."""

_LOCK = (
    select(feeds.c.stream_created, feeds.c.stream_sequence, feeds.c.xid, feeds.c.position)
    .where(feeds.c.projection == bindparam("projection"))
    .where(feeds.c.projection_version == bindparam("version"))
    .where(feeds.c.source == bindparam("source"))
    .with_for_update()
)
_SAVE = """
    UPDATE feeds SET stream_created = ?4, stream_sequence = ?5, xid = ?6, position = ?7
    WHERE projection = ?1 AND projection_version = ?2 AND source = ?3"""


class Checkpoint(NamedTuple):
    """How far a feed is taken in.

    Attributes:
        stream_created: tells one stream from another of the same name.
        sequence: stream sequence of the last message that was applied, dropped or kept aside.
        cursor: that message's place in the store's order.
    """

    stream_created: str
    sequence: int
    cursor: Cursor


@dataclass
class Outcome:
    """What one transaction of the inbox did.

    Attributes:
        held: events of the feed that are aside after it.
        applied: envelopes in the order in which they were applied.
        stop: why the feed must not be read further, or None.
        full: it may be read on once fewer aggregates fail.
        counts: applied, skipped, dropped, alarms, gaps, failed, parked, redelivered.
        began_ns: when the transaction began, nanoseconds since 1970.
    """

    checkpoint: Checkpoint
    held: int = 0
    applied: list[Envelope] = field(default_factory=list)
    stop: str | None = None
    full: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    began_ns: int = field(default_factory=time.time_ns)


class Superseded(Exception):
    """The tables hold another version of the projection; this one must not be applied to them."""


class Inbox:
    """The inbox of one projection for one source.

    Args:
        projection: what is built.
        database: where.
        source: the store whose events come.
        retry_delays_s: see ``Terms``, as the following.
        failing_limit: how many aggregates may fail.
        record_gap: told of every gap.
    """

    def __init__(
        self,
        projection: Projection,
        database: Database,
        source: str,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        *,
        failing_limit: int = FAILING_LIMIT,
        record_gap: RecordGap | None = None,
    ) -> None:
        self.key = (projection.name, projection.version, source)
        self._projection = projection
        self._database = database
        self._terms = Terms(tuple(retry_delays_s), failing_limit, record_gap)

    async def open(self, stream_created: str) -> Outcome:
        """Read the checkpoint; for a new stream of the same name it starts before the first message again.

        Raises:
            Superseded: another version of the projection serves.
        """
        async with self._database.write() as conn:
            await self._check_serving(conn)
            checkpoint = await self._locked(conn)
            if checkpoint is None:
                checkpoint = Checkpoint(stream_created, 0, START)
                await conn.execute(insert(feeds).values(self._row(checkpoint)))
            elif checkpoint.stream_created != stream_created:
                _log.warning("stream-is-another", source=self.key[2], projection=self.key[0])
                checkpoint = Checkpoint(stream_created, 0, START)
                await self._save(conn, checkpoint)
            aside = Aside(conn, self.key)
            await aside.load()
            return Outcome(checkpoint, aside.count)

    async def take(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Take in messages in the order of the stream; those at or before the checkpoint are passed over.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the machinery failed and nothing was taken in; try again.
        """
        try:
            return await self._take(deliveries, careful=False)
        except TryCarefully:
            return await self._take(deliveries, careful=True)

    async def take_resent(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Take in events that their owner sent again, beside the stream: the checkpoint stays where it is.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the machinery failed and nothing was taken in; try again.
        """
        async with self._database.write() as conn:
            taking, outcome = await self._begin(conn, careful=True)
            for came in await taking.prepare(deliveries):
                await self._take_one(taking, came, outcome)
                if outcome.stop is not None:
                    break
            return await self._finish(taking, outcome)

    async def retry_due(self) -> Outcome:
        """Try those events again whose time has come.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the machinery failed and nothing was changed; try again.
        """
        async with self._database.write() as conn:
            taking, outcome = await self._begin(conn, careful=True)
            await taking.aside.load()
            for ref in await taking.aside.due():
                outcome.stop = await taking.drain(ref) or outcome.stop
            return await self._finish(taking, outcome)

    async def has_room(self) -> bool:
        """Tell whether one more aggregate may fail."""
        async with self._database.write() as conn:
            taking, _ = await self._begin(conn, careful=True)
            await taking.aside.load()
            return taking.aside.failing < self._terms.failing_limit

    async def _take(self, deliveries: Sequence[Delivery], *, careful: bool) -> Outcome:
        async with self._database.write() as conn:
            taking, outcome = await self._begin(conn, careful=careful)
            fresh = [delivery for delivery in deliveries if delivery.sequence > outcome.checkpoint.sequence]
            taking.counts["redelivered"] += len(deliveries) - len(fresh)
            last: Delivery | None = None
            for came in await taking.prepare(fresh):
                if await self._take_one(taking, came, outcome):
                    last = came.delivery
                if outcome.stop is not None:
                    break
            if last is not None:
                cursor = Cursor(last.xid, last.position)
                outcome.checkpoint = outcome.checkpoint._replace(sequence=last.sequence, cursor=cursor)
                await self._save(conn, outcome.checkpoint)
            return await self._finish(taking, outcome)

    async def _begin(self, conn: AsyncConnection, *, careful: bool) -> tuple[Taking, Outcome]:
        checkpoint = await self._checkpoint(conn)
        taking = Taking(conn, self._projection, self.key, self._terms, careful=careful)
        return taking, Outcome(checkpoint, counts=taking.counts, applied=taking.applied)

    async def _take_one(self, taking: Taking, came: Came, outcome: Outcome) -> bool:
        """Take in a message and note why the feed must stop, if it must; tell whether it is taken in."""
        try:
            outcome.stop = await taking.take(came)
        except NewerVersion as error:
            outcome.stop = str(error)
            return False
        except TooManyFail as error:
            outcome.stop, outcome.full = str(error), True
            return False
        return True

    async def _finish(self, taking: Taking, outcome: Outcome) -> Outcome:
        await taking.finish()
        outcome.held = taking.aside.count
        return outcome

    async def _check_serving(self, conn: AsyncConnection) -> None:
        """Refuse another version than the one that serves; none is switched to before this transaction's end."""
        query = select(serving.c.projection_version).where(serving.c.projection == self.key[0])
        version = (await conn.execute(query.with_for_update(read=True))).scalar_one_or_none()
        if version not in (None, self.key[1]):
            raise Superseded(f"version {version} of {self.key[0]} serves, not version {self.key[1]}")

    async def _checkpoint(self, conn: AsyncConnection) -> Checkpoint:
        checkpoint = await self._locked(conn)
        if checkpoint is None:
            raise LookupError(f"feed {self.key} was not opened")
        return checkpoint

    async def _locked(self, conn: AsyncConnection) -> Checkpoint | None:
        """Read the checkpoint and lock its row, so that a second consumer of the feed waits for this transaction."""
        projection, version, source = self.key
        values = {"projection": projection, "version": version, "source": source}
        row = (await conn.execute(_LOCK, values)).one_or_none()
        if row is None:
            return None
        return Checkpoint(row.stream_created, row.stream_sequence, Cursor(row.xid, row.position))

    async def _save(self, conn: AsyncConnection, checkpoint: Checkpoint) -> None:
        driver = await Driver.under(conn)
        created, sequence, cursor = checkpoint
        await driver.write(_SAVE, [(*self.key, created, sequence, *cursor)])

    def _row(self, checkpoint: Checkpoint) -> dict[str, object]:
        return {
            "projection": self.key[0],
            "projection_version": self.key[1],
            "source": self.key[2],
            "stream_created": checkpoint.stream_created,
            "stream_sequence": checkpoint.sequence,
            "xid": checkpoint.cursor.xid,
            "position": checkpoint.cursor.position,
        }


async def read_checkpoints(database: Database, projection: Projection) -> dict[str, tuple[Checkpoint, int]]:
    """Return for each source of the projection its checkpoint and how many of its events are aside."""
    wanted = select(feeds).where(feeds.c.projection == projection.name)
    aside = (
        select(held.c.source, func.count().label("events"))
        .where(held.c.projection == projection.name)
        .where(held.c.projection_version == projection.version)
        .group_by(held.c.source)
    )
    async with database.read() as conn:
        counts = {row.source: row.events for row in await conn.execute(aside)}
        rows = (await conn.execute(wanted.where(feeds.c.projection_version == projection.version))).all()
    return {
        row.source: (
            Checkpoint(row.stream_created, row.stream_sequence, Cursor(row.xid, row.position)),
            counts.get(row.source, 0),
        )
        for row in rows
    }
