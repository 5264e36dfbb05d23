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

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

import structlog
from pydantic import ValidationError
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Envelope, NewerVersion, UpcasterMissing, parse_event_type
from spoel_common.messaging.aside import Aside, State, after_s
from spoel_common.messaging.faults import describe, is_machinery
from spoel_common.messaging.heads import FeedKey, Heads, digest_of
from spoel_common.messaging.projection import Projection, Received
from spoel_common.messaging.pull import Delivery
from spoel_common.store import START, AggregateRef, Cursor, Database
from spoel_common.store.schema import feeds, held

_log = structlog.get_logger(__name__)

RETRY_DELAYS_S = (0.5, 2.0, 5.0, 15.0, 30.0)

_SUBJECT_TOKENS = 7


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
        counts: applied, skipped, dropped, alarms, gaps, failed, parked, redelivered.
    """

    checkpoint: Checkpoint
    held: int = 0
    applied: list[Envelope] = field(default_factory=list)
    stop: str | None = None
    counts: Counter[str] = field(default_factory=Counter)


class _Failure(NamedTuple):
    error: str
    for_good: bool


class _TryCarefully(Exception):
    """An event failed without a savepoint to go back to: the batch is to be run again with one around each."""


class Inbox:
    """The inbox of one projection for one source."""

    def __init__(
        self, projection: Projection, database: Database, source: str, retry_delays_s: Sequence[float] = RETRY_DELAYS_S
    ) -> None:
        self.key: FeedKey = (projection.name, projection.version, source)
        self._projection = projection
        self._database = database
        self._retry_delays_s = tuple(retry_delays_s)

    async def open(self, stream_created: str) -> Outcome:
        """Read the checkpoint; for a new stream of the same name it starts before the first message again."""
        async with self._database.write() as conn:
            checkpoint = await self._locked(conn)
            if checkpoint is None:
                checkpoint = Checkpoint(stream_created, 0, START)
                await conn.execute(insert(feeds).values(self._row(checkpoint)))
            elif checkpoint.stream_created != stream_created:
                _log.warning("stream-is-another", source=self.key[2], projection=self.key[0])
                checkpoint = Checkpoint(stream_created, 0, START)
                await self._save(conn, checkpoint)
            return Outcome(checkpoint, await Aside(conn, self.key).count())

    async def take(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Take in messages in the order of the stream; those at or before the checkpoint are passed over.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the machinery failed and nothing was taken in; try again.
        """
        try:
            return await self._take(deliveries, careful=False)
        except _TryCarefully:
            return await self._take(deliveries, careful=True)

    async def retry_due(self) -> Outcome:
        """Try those events again whose time has come.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the machinery failed and nothing was changed; try again.
        """
        async with self._database.write() as conn:
            taking = _Taking(conn, self._projection, self.key, self._retry_delays_s, careful=True)
            outcome = Outcome(await self._checkpoint(conn), counts=taking.counts, applied=taking.applied)
            await taking.aside.load()
            for ref in await taking.aside.due():
                outcome.stop = await taking.drain(ref) or outcome.stop
            await taking.finish()
            outcome.held = await taking.aside.count()
            return outcome

    async def _take(self, deliveries: Sequence[Delivery], *, careful: bool) -> Outcome:
        async with self._database.write() as conn:
            taking = _Taking(conn, self._projection, self.key, self._retry_delays_s, careful=careful)
            outcome = Outcome(await self._checkpoint(conn), counts=taking.counts, applied=taking.applied)
            fresh = [delivery for delivery in deliveries if delivery.sequence > outcome.checkpoint.sequence]
            taking.counts["redelivered"] += len(deliveries) - len(fresh)
            await taking.prepare(fresh)
            for delivery in fresh:
                try:
                    outcome.stop = await taking.take(delivery)
                except NewerVersion as error:
                    outcome.stop = str(error)
                    break
                cursor = Cursor(delivery.xid, delivery.position)
                outcome.checkpoint = outcome.checkpoint._replace(sequence=delivery.sequence, cursor=cursor)
                if outcome.stop is not None:
                    break
            await taking.finish()
            await self._save(conn, outcome.checkpoint)
            outcome.held = await taking.aside.count()
            return outcome

    async def _checkpoint(self, conn: AsyncConnection) -> Checkpoint:
        checkpoint = await self._locked(conn)
        if checkpoint is None:
            raise LookupError(f"feed {self.key} was not opened")
        return checkpoint

    async def _locked(self, conn: AsyncConnection) -> Checkpoint | None:
        """Read the checkpoint and lock its row, so that a second consumer of the feed waits for this transaction."""
        query = (
            select(feeds.c.stream_created, feeds.c.stream_sequence, feeds.c.xid, feeds.c.position)
            .where(feeds.c.projection == self.key[0])
            .where(feeds.c.projection_version == self.key[1])
            .where(feeds.c.source == self.key[2])
            .with_for_update()
        )
        row = (await conn.execute(query)).one_or_none()
        if row is None:
            return None
        return Checkpoint(row.stream_created, row.stream_sequence, Cursor(row.xid, row.position))

    async def _save(self, conn: AsyncConnection, checkpoint: Checkpoint) -> None:
        statement = (
            update(feeds)
            .where(feeds.c.projection == self.key[0])
            .where(feeds.c.projection_version == self.key[1])
            .where(feeds.c.source == self.key[2])
        )
        await conn.execute(statement.values(self._row(checkpoint)))

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


class _Taking:
    """One transaction of the inbox at work."""

    def __init__(
        self,
        conn: AsyncConnection,
        projection: Projection,
        key: FeedKey,
        retry_delays_s: tuple[float, ...],
        *,
        careful: bool,
    ) -> None:
        self.heads = Heads(conn, key)
        self.aside = Aside(conn, key)
        self.counts: Counter[str] = Counter()
        self.applied: list[Envelope] = []
        self._conn = conn
        self._projection = projection
        self._source = key[2]
        self._retry_delays_s = retry_delays_s
        self._careful = careful
        self._collected: list[Received] = []
        self._envelopes: dict[int, Envelope | _Failure] = {}

    async def prepare(self, deliveries: Sequence[Delivery]) -> None:
        """Read the envelopes, and from the database what is known of their aggregates."""
        self._envelopes = {delivery.sequence: self._read(delivery) for delivery in deliveries}
        found = [envelope for envelope in self._envelopes.values() if isinstance(envelope, Envelope)]
        await self.aside.load()
        await self.heads.load(_ref(envelope) for envelope in found)

    async def finish(self) -> None:
        """Apply what was collected for one call, and write the heads."""
        if self._collected:
            await self._apply_or_go_back(self._collected, all_came=True)
        await self.heads.store()

    async def take(self, delivery: Delivery) -> str | None:
        """Take in one message; return why the feed must stop behind it, or None.

        Raises:
            NewerVersion: the feed must stop before it.
        """
        envelope = self._envelopes[delivery.sequence]
        if isinstance(envelope, _Failure):
            await self._park_invalid(delivery, envelope.error)
            return None
        ref, version = _ref(envelope), envelope.aggregateversion
        state = self.aside.blocks(ref)
        if version <= self.heads.version(ref):
            self._drop(ref, version, delivery.raw)
        elif state is not None:
            await self.aside.put(ref, version, delivery.raw, state, stream_sequence=delivery.sequence)
        elif version > self.heads.version(ref) + 1:
            await self._hold_behind_gap(ref, version, delivery)
        else:
            return await self._take_next(ref, envelope, delivery)
        return None

    async def drain(self, ref: AggregateRef) -> str | None:
        """Apply what is aside of the aggregate as far as it goes; return why the feed must stop, or None."""
        await self.heads.load([ref])
        while (event := await self.aside.lowest(ref)) is not None and event.version is not None:
            if event.version <= self.heads.version(ref):
                self._drop(ref, event.version, event.raw)
            elif event.version > self.heads.version(ref) + 1:
                await self.aside.gap(ref)
                return None
            else:
                try:
                    failure = await self._apply(Envelope.from_bytes(event.raw), event.raw)
                except NewerVersion as error:
                    return str(error)
                if failure is not None:
                    parked = await self.aside.failed(
                        event, failure.error, self._retry_delays_s, for_good=failure.for_good
                    )
                    self._count_failure(ref, event.version, failure.error, parked=parked)
                    return None
                self.heads.advance(ref, digest_of(event.raw))
            await self.aside.remove(event)
        return None

    async def _take_next(self, ref: AggregateRef, envelope: Envelope, delivery: Delivery) -> str | None:
        failure = await self._apply(envelope, delivery.raw)
        if failure is None:
            self.heads.advance(ref, digest_of(delivery.raw))
            return await self.drain(ref) if self.aside.has(ref) else None
        parked = failure.for_good or not self._retry_delays_s
        await self.aside.put(
            ref,
            envelope.aggregateversion,
            delivery.raw,
            State.PARKED if parked else State.RETRY,
            stream_sequence=delivery.sequence,
            error=failure.error,
            try_at=None if parked else after_s(self._retry_delays_s[0]),
        )
        self._count_failure(ref, envelope.aggregateversion, failure.error, parked=parked)
        return None

    async def _apply(self, envelope: Envelope, raw: bytes) -> _Failure | None:
        catalogue = self._projection.catalogue
        try:
            decoded = None if catalogue is None else catalogue.decode(envelope)
        except (ValidationError, UpcasterMissing) as error:
            return _Failure(describe(error), for_good=True)
        if catalogue is not None and decoded is None:
            self.counts["skipped"] += 1
            return None
        received = Received(envelope, decoded, raw)
        if not self._careful:
            await self._apply_or_go_back([received])
        else:
            try:
                async with self._conn.begin_nested():
                    await self._call([received])
            except Exception as error:  # whatever a read model does wrong concerns this event only
                if is_machinery(error):
                    raise
                return _Failure(describe(error), for_good=False)
        self.counts["applied"] += 1
        self.applied.append(envelope)
        return None

    async def _apply_or_go_back(self, events: Sequence[Received], *, all_came: bool = False) -> None:
        if self._projection.apply_batch is not None and not all_came:
            self._collected += events
            return
        try:
            await self._call(events)
        except Exception as error:
            if is_machinery(error):
                raise
            raise _TryCarefully from error

    async def _call(self, events: Sequence[Received]) -> None:
        if self._projection.apply_batch is not None:
            await self._projection.apply_batch(self._conn, events)
        if self._projection.apply is not None:
            for event in events:
                await self._projection.apply(self._conn, *event)

    def _read(self, delivery: Delivery) -> Envelope | _Failure:
        try:
            envelope = Envelope.from_bytes(delivery.raw)
            parse_event_type(envelope.type)
        except ValueError as error:
            return _Failure(describe(error), for_good=True)
        if envelope.source != self._source:
            return _Failure(f"source {envelope.source} in the stream of {self._source}", for_good=True)
        return envelope

    async def _park_invalid(self, delivery: Delivery, error: str) -> None:
        tokens = delivery.subject.split(".")
        ref = AggregateRef(*map(unquote, tokens[4:6])) if len(tokens) == _SUBJECT_TOKENS else AggregateRef("", "")
        sequence = delivery.sequence
        await self.aside.put(ref, None, delivery.raw, State.PARKED, stream_sequence=sequence, error=error)
        self._count_failure(ref, None, error, parked=True)

    async def _hold_behind_gap(self, ref: AggregateRef, version: int, delivery: Delivery) -> None:
        await self.aside.put(ref, version, delivery.raw, State.GAP, stream_sequence=delivery.sequence)
        self.counts["gaps"] += 1
        _log.warning(
            "gap-detected",
            source=self._source,
            aggregate=ref.type,
            aggregate_id=ref.id,
            last=self.heads.version(ref),
            came=version,
        )

    def _drop(self, ref: AggregateRef, version: int, raw: bytes) -> None:
        self.counts["dropped"] += 1
        if self.heads.differs(ref, version, digest_of(raw)):
            self.counts["alarms"] += 1
            _log.error(
                "event-bytes-differ", source=self._source, aggregate=ref.type, aggregate_id=ref.id, version=version
            )

    def _count_failure(self, ref: AggregateRef, version: int | None, error: str, *, parked: bool) -> None:
        self.counts["failed"] += 1
        self.counts["parked"] += parked
        _log.error(
            "event-parked" if parked else "event-failed",
            projection=self._projection.name,
            source=self._source,
            aggregate=ref.type,
            aggregate_id=ref.id,
            version=version,
            error=error,
        )


def _ref(envelope: Envelope) -> AggregateRef:
    return AggregateRef(envelope.aggregatetype, envelope.subject)
