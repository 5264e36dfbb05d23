"""One transaction of the inbox at work: what is applied, dropped, held, retried, parked."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from urllib.parse import unquote

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Envelope, NewerVersion, UpcasterMissing, parse_event_type
from spoel_common.messaging.aside import LOAD_ASIDE, Aside, State, after_s
from spoel_common.messaging.faults import describe, is_machinery
from spoel_common.messaging.heads import FeedKey, Heads, digest_of
from spoel_common.messaging.projection import Projection, Received
from spoel_common.messaging.pull import Delivery
from spoel_common.store import AggregateRef

_log = structlog.get_logger(__name__)

_SUBJECT_TOKENS = 7


class _Failure(NamedTuple):
    error: str
    for_good: bool


class Came(NamedTuple):
    """A message that was read.

    Attributes:
        ref: the aggregate; from the subject where the bytes are no envelope.
        envelope: None where the bytes are none of this feed.
        error: why they are none.
    """

    delivery: Delivery
    ref: AggregateRef
    envelope: Envelope | None
    error: str = ""


class Gap(NamedTuple):
    """An aggregate of which an event has come, but not the one before it.

    Attributes:
        key: projection, its version, source.
        last_version: the last that is applied; 0 for none.
        came_version: of the event that came.
    """

    key: FeedKey
    aggregate: AggregateRef
    last_version: int
    came_version: int


RecordGap = Callable[[AsyncConnection, Gap], Awaitable[None]]
"""Records a gap within the inbox's transaction."""


class Terms(NamedTuple):
    """What a feed does with what cannot be applied.

    Attributes:
        retry_delays_s: pauses before an event that failed is tried again; after the last it is parked.
        failing_limit: how many aggregates may have an event that failed; the feed stops before the next one.
        record_gap: told of every gap, once; None: it is only logged.
    """

    retry_delays_s: tuple[float, ...]
    failing_limit: int
    record_gap: RecordGap | None = None


class TooManyFail(Exception):
    """As many aggregates as may have an event that failed, and now another one: the feed must stop before it."""


class TryCarefully(Exception):
    """An event failed without a savepoint to go back to: the batch is to be run again with one around each."""


class Taking:
    """One transaction of the inbox.

    Args:
        conn: the transaction.
        projection: what is built.
        key: of the feed.
        terms: what to do with what cannot be applied.
        careful: a savepoint around each event, so that one can fail alone.

    Attributes:
        heads: how far each aggregate is applied.
        aside: the events kept aside.
        counts: what happened, by kind.
        applied: envelopes in the order in which they were applied.
    """

    def __init__(
        self,
        conn: AsyncConnection,
        projection: Projection,
        key: FeedKey,
        terms: Terms,
        *,
        careful: bool,
    ) -> None:
        self.heads = Heads(conn, key)
        self.aside = Aside(conn, key)
        self.counts: Counter[str] = Counter()
        self.applied: list[Envelope] = []
        self._conn = conn
        self._projection = projection
        self._key = key
        self._source = key[2]
        self._terms = terms
        self._careful = careful
        self._collected: list[Received] = []

    async def prepare(self, deliveries: Sequence[Delivery]) -> list[Came]:
        """Read the messages, and from the database what is known of their aggregates."""
        came = [self._read(delivery) for delivery in deliveries]
        self.aside.fill(await self.heads.load({one.ref for one in came}, beside=LOAD_ASIDE))
        return came

    async def finish(self) -> None:
        """Apply what was collected for one call, and write the heads."""
        if self._collected:
            await self._apply_or_go_back(self._collected, all_came=True)
        await self.heads.store()

    async def take(self, came: Came) -> str | None:
        """Take in one message; return why the feed must stop behind it, or None.

        Raises:
            NewerVersion, TooManyFail: the feed must stop before it.
        """
        delivery, ref, envelope, error = came
        if envelope is None:
            await self._park_invalid(delivery, ref, error)
            return None
        version, last = envelope.aggregateversion, self.heads.version(ref)
        state = self.aside.blocks(ref)
        if version <= last:
            self._drop(ref, version, delivery.raw)
        elif state is not None:
            await self.aside.put(ref, version, delivery.raw, state, stream_sequence=delivery.sequence)
        elif version > last + 1:
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
                if self.aside.blocks(ref) is not None:
                    await self.aside.gap(ref)
                    await self._gap_detected(ref, event.version)
                return None
            else:
                try:
                    failure = await self._apply(Envelope.from_bytes(event.raw), event.raw)
                except NewerVersion as error:
                    return str(error)
                if failure is not None:
                    parked = await self.aside.failed(
                        event, failure.error, self._terms.retry_delays_s, for_good=failure.for_good
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
        self._check_limit(ref, failure.error)
        parked = failure.for_good or not self._terms.retry_delays_s
        await self.aside.put(
            ref,
            envelope.aggregateversion,
            delivery.raw,
            State.PARKED if parked else State.RETRY,
            stream_sequence=delivery.sequence,
            error=failure.error,
            try_at=None if parked else after_s(self._terms.retry_delays_s[0]),
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
            raise TryCarefully from error

    async def _call(self, events: Sequence[Received]) -> None:
        if self._projection.apply_batch is not None:
            await self._projection.apply_batch(self._conn, events)
        if self._projection.apply is not None:
            for event in events:
                await self._projection.apply(self._conn, *event)

    def _read(self, delivery: Delivery) -> Came:
        try:
            envelope = Envelope.from_bytes(delivery.raw)
            parse_event_type(envelope.type)
        except ValueError as error:
            return Came(delivery, _ref_in(delivery.subject), None, describe(error))
        if envelope.source != self._source:
            strange = f"source {envelope.source} in the stream of {self._source}"
            return Came(delivery, _ref_in(delivery.subject), None, strange)
        return Came(delivery, AggregateRef(envelope.aggregatetype, envelope.subject), envelope)

    async def _park_invalid(self, delivery: Delivery, ref: AggregateRef, error: str) -> None:
        self._check_limit(ref, error)
        sequence = delivery.sequence
        await self.aside.put(ref, None, delivery.raw, State.PARKED, stream_sequence=sequence, error=error)
        self._count_failure(ref, None, error, parked=True)

    def _check_limit(self, ref: AggregateRef, error: str) -> None:
        if self.aside.failing >= self._terms.failing_limit:
            raise TooManyFail(
                f"{self.aside.failing} aggregates have events that could not be applied, and now {ref.type} {ref.id}: "
                f"{error}. Nothing behind it is read until some of them are replayed or discarded (spoel events), "
                "or until the service is started with the fault mended"
            )

    async def _hold_behind_gap(self, ref: AggregateRef, version: int, delivery: Delivery) -> None:
        is_first = not self.aside.has(ref)
        await self.aside.put(ref, version, delivery.raw, State.GAP, stream_sequence=delivery.sequence)
        self.counts["gaps"] += 1
        if is_first:
            await self._gap_detected(ref, version)

    async def _gap_detected(self, ref: AggregateRef, came: int) -> None:
        gap = Gap(self._key, ref, self.heads.version(ref), came)
        _log.warning(
            "gap-detected",
            source=self._source,
            aggregate=ref.type,
            aggregate_id=ref.id,
            last=gap.last_version,
            came=came,
        )
        if self._terms.record_gap is not None:
            await self._terms.record_gap(self._conn, gap)

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


def _ref_in(subject: str) -> AggregateRef:
    tokens = subject.split(".")
    return AggregateRef(*map(unquote, tokens[4:6])) if len(tokens) == _SUBJECT_TOKENS else AggregateRef("", "")
