"""A consumer: finds the feeds of a projection, reads each, and knows how old its knowledge of each is.

One process of a service leads a projection and reads; any others of the same service follow the checkpoints in the
database, so that their knowledge is right too. Each stream is read in order without holes: where a message is missing
between two deliveries (it was on its way to a process that died), reading starts again behind the checkpoint.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import nats.errors
import structlog
from sqlalchemy.exc import SQLAlchemyError

from spoel_common import tracing
from spoel_common.cancellation import keeping_cancellation
from spoel_common.messaging.aside import count_held
from spoel_common.messaging.broker import Broker, BrokerAway
from spoel_common.messaging.inbox import FAILING_LIMIT, RETRY_DELAYS_S, Inbox, Outcome, read_checkpoints
from spoel_common.messaging.knowledge import FeedState
from spoel_common.messaging.projection import FeedKnowledge, Projection
from spoel_common.messaging.pull import Delivery, Pull, PullBroken
from spoel_common.messaging.resend import GapFiller
from spoel_common.messaging.streams import Feed, find_feeds
from spoel_common.messaging.taking import RecordGap
from spoel_common.messaging.watermark import Hearing, Watermark
from spoel_common.store import Cursor, Database, Position, StoreName, leadership, watermark_wildcard

_log = structlog.get_logger(__name__)

DISCOVER_EVERY_S = 2.0
_FOLLOW_EVERY_S = 1.0
_WAIT_S = 0.5
_LOOK_EVERY_S = 0.5
_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Consumer:
    """Builds one projection from the streams of all stores of the services that it names.

    Args:
        projection: what to build.
        database: the service's own, in which the read model, inbox and checkpoints live.
        broker: its name prefixes the durable consumers.
        site: whose streams.
        retry_delays_s: pauses before an event that failed is tried again; after the last it is parked.
        failing_limit: how many aggregates of a feed may fail; it stops before the next one.
        record_gap: records every gap, in the transaction in which it is noticed.
        states: what an ended consumer knew of the feeds, of a model that was at most as far; from ``hand_over``.
    """

    def __init__(  # noqa: PLR0913 - four of them have a default
        self,
        projection: Projection,
        database: Database,
        broker: Broker,
        site: str,
        *,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        failing_limit: int = FAILING_LIMIT,
        record_gap: RecordGap | None = None,
        discover_every_s: float = DISCOVER_EVERY_S,
        states: dict[str, FeedState] | None = None,
    ) -> None:
        self.projection = projection
        self._database = database
        self._broker = broker
        self._site = site
        self._retry_delays_s = retry_delays_s
        self._failing_limit = failing_limit
        self._record_gap = record_gap
        self._discover_every_s = discover_every_s
        self._durable = f"{broker.name}--{projection.name}--v{projection.version}"
        self._task_name = f"consumer:{projection.name}:{projection.version}"
        self._states: dict[str, FeedState] = states or {}
        self._totals: Counter[str] = Counter()
        self._leading = False

    async def run(self) -> None:
        """Consume until cancelled; wait for NATS, the database and leadership as long as it takes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear_watermarks())
            group.create_task(self._follow())
            group.create_task(self._lead())

    def knowledge(self) -> list[FeedKnowledge]:
        """Return what is known of each feed; a service of which no store was ever seen counts as never known."""
        known = [state.knowledge() for _, state in sorted(self._states.items())]
        seen = {StoreName.from_source(item.source).service for item in known}
        unseen = self.projection.awaits(seen)
        return known + [FeedState(f"/spoel/{self._site}/{service}/*").knowledge() for service in unseen]

    def lag(self) -> dict[str, int]:
        """Return for each source how many messages of its stream are not taken in yet."""
        return {source: state.lag for source, state in sorted(self._states.items())}

    def applied(self, position: Position) -> bool:
        """Tell whether everything up to this place of a store is applied for sure."""
        state = self._states.get(position.source)
        return state is not None and state.applied(position.cursor)

    def progress(self) -> dict[str, Cursor]:
        """Return for each source up to which place of it is taken in."""
        return {source: state.cursor for source, state in sorted(self._states.items())}

    def totals(self) -> dict[str, int]:
        """Return what happened since the start of this process, by kind."""
        kinds = (
            "applied",
            "skipped",
            "dropped",
            "redelivered",
            "alarms",
            "gaps",
            "holes",
            "failed",
            "parked",
            "resent",
        )
        return {kind: self._totals[kind] for kind in kinds}

    async def counts(self) -> dict[str, int]:
        """Return how many events are aside now, by state: gap, retry, behind, parked."""
        return await count_held(self._database, self.projection.name, self.projection.version)

    def problems(self) -> list[str]:
        """Return why feeds are stopped or cannot be read at the moment; empty where all is well."""
        return [f"{source}: {state.trouble}" for source, state in sorted(self._states.items()) if state.trouble]

    def hand_over(self) -> dict[str, FeedState]:
        """Return what is known of the feeds, for the consumer that takes the place of this one, which has ended."""
        for state in self._states.values():
            state.renew()
        return self._states

    async def forget(self) -> None:
        """Delete its durable consumers at the server, as far as that answers: it will not be run again."""
        for feed in await self._discover():
            try:
                await self._broker.jetstream.delete_consumer(feed.name.stream, self._durable)
            except (BrokerAway, nats.errors.Error, TimeoutError) as error:
                _log.debug("consumer-not-deleted", stream=feed.name.stream, error=str(error))

    async def _hear_watermarks(self) -> None:
        wanted = [watermark_wildcard(self._site, service) for service in self.projection.services]
        hearing: Hearing | None = None
        try:
            while True:
                await self._broker.wait_connected()
                if hearing is None or not hearing.still_on(self._broker):
                    try:
                        hearing = await Hearing.start(self._broker, wanted, self._on_watermark)
                    except (BrokerAway, nats.errors.Error) as error:
                        _log.debug("watermarks-not-heard", projection=self.projection.name, error=str(error))
                await asyncio.sleep(_FOLLOW_EVERY_S)
        finally:
            if hearing is not None:
                await hearing.stop()

    def _on_watermark(self, mark: Watermark) -> None:
        if self.projection.reads(mark.source):
            self._state(mark.source).hear(mark, time.monotonic())

    async def _follow(self) -> None:
        while True:
            if not self._leading:
                try:
                    found = await read_checkpoints(self._database, self.projection)
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("consumer-cannot-follow", projection=self.projection.name, error=type(error).__name__)
                else:
                    for source, (checkpoint, held) in found.items():
                        self._state(source).advance(checkpoint, held)
            await asyncio.sleep(_FOLLOW_EVERY_S)

    async def _lead(self) -> None:
        while True:
            try:
                async with leadership(self._database, self._task_name):
                    self._leading = True
                    await self._read_all()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("consumer-not-leading", projection=self.projection.name, error=str(error))
            finally:
                self._leading = False
            for state in self._states.values():
                state.problem = None  # whoever leads now reads, and may have none
            await asyncio.sleep(_BACK_OFF_S[2])

    async def _read_all(self) -> None:
        readers: dict[str, tuple[Feed, asyncio.Task[None]]] = {}
        try:
            while True:
                for feed in await self._discover():
                    await self._attend(feed, readers)
                await asyncio.sleep(self._discover_every_s)
        finally:
            for _, task in readers.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in readers.values()), return_exceptions=True)

    async def _discover(self) -> list[Feed]:
        try:
            async with keeping_cancellation():
                found = await find_feeds(self._broker, self._site, self.projection.services)
        except (BrokerAway, nats.errors.Error, TimeoutError, OSError) as error:
            _log.debug("feeds-not-listed", projection=self.projection.name, error=str(error))
            return []
        return [feed for feed in found if self.projection.reads(feed.name.source)]

    async def _attend(self, feed: Feed, readers: dict[str, tuple[Feed, asyncio.Task[None]]]) -> None:
        source = feed.name.source
        self._state(source).stream_at(feed.last_sequence)
        if source in readers:
            before, task = readers[source]
            if before.created == feed.created:
                return
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        readers[source] = (feed, asyncio.create_task(self._read(feed), name=f"{self._task_name}:{source}"))

    async def _read(self, feed: Feed) -> None:
        state = self._state(feed.name.source)
        inbox = Inbox(
            self.projection,
            self._database,
            feed.name.source,
            self._retry_delays_s,
            failing_limit=self._failing_limit,
            record_gap=self._record_gap,
        )
        failures = 0
        while state.stopped is None or state.full:
            started_s = time.monotonic()
            try:
                async with keeping_cancellation():
                    if state.full:
                        await self._wait_for_room(state, inbox)
                    await self._read_stream(feed, state, inbox)
            except Exception as error:  # noqa: BLE001 - a feed is read again whatever happened, and says what
                self._report(state, error)
            failures = 0 if time.monotonic() - started_s > _BACK_OFF_S[-1] else failures + 1
            await asyncio.sleep(_BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)])

    async def _read_stream(self, feed: Feed, state: FeedState, inbox: Inbox) -> None:
        opened = await inbox.open(feed.created)
        await self._note(state, opened)
        after = opened.checkpoint.sequence
        pull = await Pull.open(self._broker, feed.name.stream, self._durable, after)
        state.problem = None
        filling = asyncio.create_task(self._fill_gaps(state, inbox))
        try:
            while state.stopped is None:
                batch = await pull.next_batch(_WAIT_S)
                if batch:
                    await self._take(state, inbox, pull, batch)
                await self._take_resent(state, inbox)
                if state.held:
                    await self._note(state, await inbox.retry_due())
        finally:
            filling.cancel()
            await asyncio.wait({filling})
            await pull.close()

    async def _fill_gaps(self, state: FeedState, inbox: Inbox) -> None:
        filler = GapFiller(self._broker, self._database, inbox.key, state.resent.extend)
        while True:
            try:
                if state.held and not state.resent:
                    await filler.look()
            except Exception as error:  # noqa: BLE001 - the feed goes on whatever happened, and it is tried again
                _log.warning("gaps-not-looked-for", projection=self.projection.name, error=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _take_resent(self, state: FeedState, inbox: Inbox) -> None:
        if state.resent:
            resent, state.resent[:] = list(state.resent), []
            self._totals["resent"] += len(resent)
            await self._note(state, await inbox.take_resent(resent))

    async def _wait_for_room(self, state: FeedState, inbox: Inbox) -> None:
        """Stand before the event that is one too many, trying again those aside, until it may fail too."""
        while not await inbox.has_room():
            await asyncio.sleep(_LOOK_EVERY_S)
            outcome = await inbox.retry_due()
            await self._note(state, outcome)
            if outcome.stop is not None:
                return
        _log.info("feed-goes-on", projection=self.projection.name, source=state.source)
        state.stopped, state.full = None, False

    async def _take(self, state: FeedState, inbox: Inbox, pull: Pull, batch: Sequence[Delivery]) -> None:
        after = state.sequence
        whole = _without_hole(batch, after)
        if not whole:
            if state.reopened_behind != after:
                state.reopened_behind = after
                raise PullBroken(f"message {after + 1} is missing before {batch[0].sequence}")
            self._totals["holes"] += 1
            _log.error("stream-has-hole", source=state.source, after=after, came=batch[0].sequence)
            whole = _without_hole(batch, batch[0].sequence - 1)
        outcome = await inbox.take(whole)
        await self._note(state, outcome)
        taken = [delivery for delivery in whole if delivery.sequence <= outcome.checkpoint.sequence]
        if taken:
            await pull.acknowledge(max(taken))
        if len(whole) < len(batch):
            raise PullBroken(f"message {state.sequence + 1} is missing before {batch[len(whole)].sequence}")

    async def _note(self, state: FeedState, outcome: Outcome) -> None:
        state.advance(outcome.checkpoint, outcome.held)
        self._totals.update(outcome.counts)
        if tracing.on():
            tracing.applied(self.projection.name, outcome.applied, outcome.began_ns)
        if outcome.applied and self.projection.after_commit is not None:
            try:
                await self.projection.after_commit(outcome.applied)
            except Exception:  # noqa: BLE001 - it is told of what is durable already; its failure changes nothing of that
                _log.exception("after-commit-failed", projection=self.projection.name)
        if outcome.stop is not None:
            state.stopped, state.full = outcome.stop, outcome.full
            _log.error("feed-stopped", projection=self.projection.name, source=state.source, why=outcome.stop)

    def _report(self, state: FeedState, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        if problem != state.problem:
            _log.warning("feed-not-read", projection=self.projection.name, source=state.source, problem=problem)
        state.problem = problem

    def _state(self, source: str) -> FeedState:
        return self._states.setdefault(source, FeedState(source))


def _without_hole(batch: Sequence[Delivery], after: int) -> list[Delivery]:
    """Return the first deliveries that follow ``after`` one by one; older ones may lie between them."""
    whole: list[Delivery] = []
    for delivery in batch:
        if delivery.sequence > after + 1:
            break
        after = max(after, delivery.sequence)
        whole.append(delivery)
    return whole
