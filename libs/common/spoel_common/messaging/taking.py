"""One transaction of the inbox at work: what is applied, dropped, held, retried, parked."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Envelope, NewerVersion, UpcasterMissing, parse_event_type
from spoel_common.messaging.aside import Aside, State, after_s
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


class TryCarefully(Exception):
    """An event failed without a savepoint to go back to: the batch is to be run again with one around each."""


class Taking:
    """One transaction of the inbox.

    Args:
        conn: the transaction.
        projection: what is built.
        key: of the feed.
        retry_delays_s: pauses before an event that failed is tried again.
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
            raise TryCarefully from error

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
