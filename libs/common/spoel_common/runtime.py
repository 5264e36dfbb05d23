"""The runtime of a service: what is open while it serves, and the tasks that run beside the requests.

The service starts and serves also while NATS or the issuer is away: it says so at ``/health/ready`` and tries on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Protocol, Self

import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError

from spoel_common import readiness
from spoel_common.errors import SpoelError
from spoel_common.gaps import gap_recorder
from spoel_common.identity import TokenVerifier
from spoel_common.messaging import (
    Broker,
    Consumer,
    FeedKnowledge,
    Keeper,
    NatsSettings,
    NotPublishing,
    Projection,
    Relay,
    Resender,
    WatermarkPublisher,
)
from spoel_common.messaging.relay import read_cursor
from spoel_common.metrics import Metrics
from spoel_common.people import Actor
from spoel_common.readiness import Check, Look
from spoel_common.settings import CannotStart, Settings, read_secret
from spoel_common.store import (
    START,
    Database,
    EventStore,
    Position,
    StoreName,
    idempotency,
    migrate,
)
from spoel_common.supervision import Supervisor
from spoel_common.work import UnitsOfWork

BROKER_CLOSE_TIMEOUT_S = 2.0
IDEMPOTENCY_KEPT = timedelta(days=7)
CLEANING_INTERVAL_S = 3_600.0

_log = structlog.get_logger(__name__)


class Unavailable(SpoelError):
    """Something that the request needs is away at the moment."""

    slug = "unavailable"
    status = 503
    title = "Not available at the moment"


class IssuerAway(Exception):
    """The issuer's keys could not be fetched yet."""


class Verifier(Protocol):
    """Says who holds a token."""

    async def verify(self, token: str, *, lapsed_s: float = 0.0) -> Actor:
        """Return who holds ``token``, or refuse it; its time may have ended ``lapsed_s`` wall seconds ago."""


Task = Callable[["Runtime"], Awaitable[None]]
Resources = Callable[["Runtime"], AbstractAsyncContextManager[None]]
ReadyCheck = Callable[["Runtime"], Awaitable[Check]]


class Runtime:
    """Everything that is open while a service serves.

    An asynchronous context manager; making one does no I/O.

    Args:
        settings: the service's settings.
        package: the service's package; its ``migrations`` are applied at start.
        projections: read models to keep from events.
        resources: the service's own context, entered before the tasks start and left after they have ended.
        tasks: the service's own background tasks, by name; each is supervised.
        checks: the service's own conditions of readiness.
        verifier: who says who holds a token; the issuer of the settings if None.
        body_hash_key: keys the kept hashes of commands' bodies; needed where bodies hold what could be guessed, such
            as a BSN. The same at every start.

    Attributes:
        clock: clock time.
        database: the service's database.
        store: the service's events.
        units: units of work.
        verifier: who says who holds a token.
        broker: the connection to NATS; None until it was reached for the first time.
        keepers: one for each projection, once NATS was reached.
        metrics: what ``/metrics`` shows.
        supervisor: the background tasks.
    """

    database: Database
    store: EventStore
    units: UnitsOfWork
    verifier: Verifier

    def __init__(  # noqa: PLR0913 - the parts of a service, each by name
        self,
        settings: Settings,
        package: str,
        projections: Sequence[Projection] = (),
        *,
        resources: Resources | None = None,
        tasks: Mapping[str, Task] | None = None,
        checks: Sequence[ReadyCheck] = (),
        verifier: Verifier | None = None,
        body_hash_key: bytes = b"",
    ) -> None:
        self.settings = settings
        self.package = package
        self.metrics = Metrics(settings.service)
        self.clock = settings.service_clock()
        self.broker: Broker | None = None
        self.keepers: list[Keeper] = []
        self.supervisor = Supervisor(lambda name: self.metrics.task_restarts.labels(name).inc())
        self.under_way: dict[object, asyncio.Event] = {}
        self.body_hash_key = body_hash_key
        self._projections = projections
        self._resources = resources
        self._tasks = dict(tasks or {})
        self._checks = checks
        self._given_verifier = verifier
        self._identity: TokenVerifier | None = None
        self._relay: Relay | None = None
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the database, bring it to the newest form, and start the tasks.

        Raises:
            CannotStart: the database cannot be opened.
        """
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the tasks and close everything, within a few seconds."""
        await self._stop()

    @property
    def projections(self) -> Sequence[Projection]:
        """The read models that are kept from events."""
        return self._projections

    @property
    def consumers(self) -> list[Consumer]:
        """The consumer of each projection's version that serves, once NATS was reached."""
        return [keeper.consumer for keeper in self.keepers]

    def knowledge(self, services: Collection[str] | None = None) -> list[FeedKnowledge]:
        """Return what is known of each feed, one line a source: the oldest knowledge over all projections.

        Args:
            services: only the feeds of these services; all if None.

        Returns:
            An empty list while nothing is known, which is never to be taken for "up to date".
        """
        oldest: dict[str, FeedKnowledge] = {}
        for feed in (feed for consumer in self.consumers for feed in consumer.knowledge()):
            if services is not None and _service_of(feed) not in services:
                continue
            known = oldest.get(feed.source)
            if known is None or feed.age_s > known.age_s:
                oldest[feed.source] = feed
        return [oldest[source] for source in sorted(oldest)]

    def known_of(self, feed: str) -> FeedKnowledge:
        """Return what is known of a feed, and as of when: the oldest knowledge over all projections.

        Args:
            feed: a store's source, such as ``/spoel/local/intake/main``; or a service's name, which stands for all its
                stores: then it is the store of which least is known.

        Returns:
            ``as_of`` None and ``age_s`` ``NEVER_S`` while nothing was ever fully applied, also of a feed that nobody
            has heard of. Knowledge begins at never after each start, until a watermark is covered; it only grows older
            while the link is cut, or while an event of the feed is held or parked; silence keeps it young.
        """
        known = [one for one in self.knowledge() if feed in (one.source, _service_of(one))]
        if not known:
            source = feed if feed.startswith("/") else f"/spoel/{self.settings.site}/{feed}/*"
            return FeedKnowledge.never(source)
        return max(known, key=lambda one: one.age_s)

    def follows(self, source: str) -> bool:
        """Tell whether reads here can have what is in a store: it is this service's own, or a projection follows it."""
        own, ours = self.store.name.source, source.startswith(f"/spoel/{self.settings.site}/")
        return source == own or (ours and any(one.reads(source) for one in self._projections))

    async def has_applied(self, position: Position) -> bool:
        """Tell whether everything here has, for sure, all of a store up to this place.

        Read models of a service's own events are written with them. False for a store that is not followed, for one
        with events aside, and while NATS was not reached yet.
        """
        own = position.source == self.store.name.source
        if own and await self.store.head() < position.cursor:
            return False
        following = [one for one in self._projections if one.reads(position.source)]
        if not following:
            return own
        kept = [keeper.consumer for keeper in self.keepers if keeper.projection in following]
        return len(kept) == len(following) and all(consumer.applied(position) for consumer in kept)

    def require_broker(self) -> Broker:
        """Return the connection to NATS.

        Raises:
            Unavailable: NATS is away.
        """
        if self.broker is None or not self.broker.connected:
            raise Unavailable("This needs NATS, which is not connected. Try again shortly.")
        return self.broker

    def republish_from(self, position: int) -> None:
        """Have this service's events from this position on published once more; it goes on in the background.

        Raises:
            Unavailable: they are not published by this process at the moment.
        """
        if self._relay is None:
            raise Unavailable("No events are published yet: NATS was not reached, or this service has none.")
        try:
            self._relay.republish_from(position)
        except NotPublishing as error:
            raise Unavailable(f"This process publishes no events at the moment: {error}. Try again shortly.") from error

    async def checks(self) -> list[Check]:
        """Look at every condition of readiness, each for a few seconds at most."""
        settings = self.settings
        looks: dict[str, Look] = {
            "database": lambda: readiness.check_database(self.database),
            "broker": lambda: readiness.check_broker(self.broker, settings),
            "durability": lambda: readiness.check_durability(self.broker, settings),
            "consumers": lambda: readiness.check_consumers(self.keepers, len(self._projections)),
            "identity": lambda: readiness.check_identity(self._identity, settings.issuer),
            "tasks": lambda: readiness.check_tasks(self.supervisor.states),
            "relay": lambda: readiness.check_relay(self._relay),
        }
        looks |= {f"service-{number}": partial(check, self) for number, check in enumerate(self._checks, start=1)}
        return await readiness.look_at_all(looks)

    async def observe(self) -> None:
        """Bring the metrics up to date that are read rather than counted."""
        metrics = self.metrics
        head = (await self.store.head()).position
        metrics.store_position.set(head)
        metrics.broker_connected.set(int(self.broker is not None and self.broker.connected))
        if self._relay is not None:
            await self._observe_relay(self._relay, head)
        for projection, consumer in zip(self._projections, self.consumers, strict=False):
            for source, lag in consumer.lag().items():
                metrics.feed_lag.labels(projection.name, source).set(lag)
            for feed in consumer.knowledge():
                metrics.feed_age.labels(projection.name, feed.source).set(feed.age_s)
            for kind, number in (await consumer.counts()).items():
                metrics.feed_waiting.labels(projection.name, kind).set(number)
            metrics.feed_problems.labels(projection.name).set(len(consumer.problems()))
            for kind, total in consumer.totals().items():
                metrics.consumed.follow(total, projection.name, kind)

    async def _observe_relay(self, relay: Relay, head: int) -> None:
        """Look at the saved cursor too: another process of this service may be the one that publishes."""
        metrics, totals = self.metrics, relay.totals()
        saved = await read_cursor(self.store)
        published = max(relay.cursor, START if saved is None else saved[0]).position
        metrics.relay_position.set(published)
        metrics.relay_lag.set(max(0, head - published))
        metrics.relay_events.follow(totals["events"])
        metrics.relay_batches.follow(totals["batches"])
        metrics.relay_failures.follow(totals["failures"])

    async def _start(self) -> None:
        settings = self.settings
        name = StoreName(site=settings.site, service=settings.service, store=settings.store)
        self.database = await _open_database(settings)
        self._open.push_async_callback(self.database.close)
        await _migrate(self.database, self.package)
        self.store = EventStore(self.database, name)
        self.units = UnitsOfWork(self.database, self.store, self.clock, self.metrics.appended.inc)
        self.verifier = self._given_verifier or self._open_verifier()
        if self._resources is not None:
            await self._open.enter_async_context(self._resources(self))
        if settings.nats_url:
            self.supervisor.start("broker", self._attach, may_end=True)
        self.supervisor.start("idempotency-cleaning", self._clean_idempotency)
        for task_name, task in self._tasks.items():
            self.supervisor.start(task_name, partial(task, self))
        _log.info("runtime.started", store=name.source)

    def _open_verifier(self) -> TokenVerifier:
        settings = self.settings
        verifier = TokenVerifier(
            settings.issuer, settings.jwks_url, settings.token_audience, cache_file=settings.keys_cache_file
        )
        self._open.push_async_callback(verifier.close)
        self._identity = verifier
        self.supervisor.start("identity-keys", partial(_fetch_keys, verifier), may_end=True)
        return verifier

    async def _attach(self) -> None:
        """Connect to NATS and start what needs it; each of these waits by itself while NATS is away."""
        settings = self.settings
        self.broker = await Broker.connect(nats_settings(settings), f"{settings.service}-{settings.store}")
        self._open.push_async_callback(_close, self.broker)
        self._relay = Relay(self.store, self.broker, settings.stream_replicas)
        self.supervisor.start("relay", self._relay.run)
        self.supervisor.start("watermarks", WatermarkPublisher(self.store, self.broker, self.clock).run)
        self.supervisor.start("resend", Resender(self.store, self.broker).run)
        record_gap = gap_recorder(self.store, self.clock)
        for projection in self._projections:
            keeper = Keeper(projection, self.database, self.package, self.broker, settings.site, record_gap=record_gap)
            self.keepers.append(keeper)
            self.supervisor.start(f"consumer-{projection.name}", keeper.run)

    async def _clean_idempotency(self) -> None:
        while True:
            async with self.database.write() as conn:
                await idempotency.forget_before(conn, datetime.now(UTC) - IDEMPOTENCY_KEPT)
            await asyncio.sleep(CLEANING_INTERVAL_S)

    async def _stop(self) -> None:
        await self.supervisor.stop(self.settings.stop_timeout_s)
        await self._open.aclose()


def nats_settings(settings: Settings) -> NatsSettings:
    """Return how a service reaches NATS."""
    return NatsSettings(
        servers=settings.nats_url,
        monitor_url=settings.nats_monitor_url,
        nkey_seed_file=settings.nats_nkey_file,
        inbox_prefix=settings.inbox_prefix,
    )


async def _close(broker: Broker) -> None:
    try:
        async with asyncio.timeout(BROKER_CLOSE_TIMEOUT_S):
            await broker.close()
    except TimeoutError:
        _log.warning("broker.not-closed", waited_s=BROKER_CLOSE_TIMEOUT_S)


def _service_of(feed: FeedKnowledge) -> str:
    return feed.source.split("/")[3]  # /spoel/<site>/<service>/<store>, or /* for a store never seen


async def _open_database(settings: Settings) -> Database:
    try:
        url = make_url(settings.database_url)
        if settings.database_password_file is not None:
            url = url.set(password=read_secret(settings.database_password_file, "database_password_file"))
        return await Database.open(url.render_as_string(hide_password=False))
    except (ArgumentError, ValueError, OSError) as error:
        raise CannotStart(
            f"SPOEL_DATABASE_URL cannot be used: {error}. Set it to sqlite:///path or postgresql://user@host/name."
        ) from error


async def _migrate(database: Database, package: str) -> None:
    try:
        await migrate(database, package)
    except (OperationalError, InterfaceError, OSError) as error:
        raise CannotStart(
            f"The database of SPOEL_DATABASE_URL does not answer ({type(error).__name__}: {error}). "
            "Start it, or correct the URL and the password file."
        ) from error


async def _fetch_keys(verifier: TokenVerifier) -> None:
    """Ask the issuer until its keys are known.

    Raises:
        IssuerAway: not yet; the supervisor tries again after a pause.
    """
    if not await verifier.ready():
        raise IssuerAway("the issuer's keys could not be fetched")
