"""Keeps one read model: the consumer of the version that serves, and beside it a rebuild while one is asked for.

Which version serves, and whether a rebuild is asked for, stands in the database (``serving``, ``rebuilds``), so that
every process of a service finds out, and an interrupted rebuild begins again after a crash.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.cancellation import end
from spoel_common.events import UtcTime
from spoel_common.messaging.broker import Broker
from spoel_common.messaging.consumer import Consumer
from spoel_common.messaging.faults import describe
from spoel_common.messaging.projection import FeedKnowledge, Projection
from spoel_common.messaging.rebuild import Rebuild
from spoel_common.messaging.taking import RecordGap
from spoel_common.store import Database, leadership, upsert
from spoel_common.store.schema import feeds, rebuilds, serving

_log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
_AFTER_FAILURE_S = 5.0


class Serving(NamedTuple):
    """The version whose rows are in the tables, and when they were put there."""

    version: int
    since: datetime


class RebuildStatus(BaseModel):
    """A rebuild that is asked for.

    Attributes:
        version: of the model that is built.
        behind: events not taken in yet, by source; empty where it was not begun, or another process builds.
        problem: why it has not come to its end, or None.
    """

    model_config = ConfigDict(frozen=True)

    asked_at: UtcTime
    version: int
    behind: dict[str, int]
    problem: str | None


class ProjectionStatus(BaseModel):
    """A read model.

    Attributes:
        version: that serves.
        since: when that version took its place.
        behind: events not taken in yet, by source.
        feeds: what it knows of each feed.
        rebuildable: whether it can be built anew from the streams.
        rebuild: the rebuild that is asked for, or None.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    since: UtcTime
    behind: dict[str, int]
    feeds: list[FeedKnowledge]
    rebuildable: bool
    rebuild: RebuildStatus | None


class Keeper:
    """Keeps one read model of a service.

    Args:
        projection: the read model, in the version of this code.
        database: the service's own.
        package: the service's package, whose migrations make the tables.
        broker: where the events come from.
        site: whose streams.
        record_gap: records every gap of the model that serves; a rebuild finds those again that were recorded.

    Attributes:
        projection: as given.
        consumer: the one of the version that serves.
    """

    def __init__(
        self,
        projection: Projection,
        database: Database,
        package: str,
        broker: Broker,
        site: str,
        *,
        record_gap: RecordGap | None = None,
    ) -> None:
        self.projection = projection
        self.consumer = Consumer(projection, database, broker, site, record_gap=record_gap)
        self._record_gap = record_gap
        self._database = database
        self._package = package
        self._broker = broker
        self._site = site
        self._rebuild: Rebuild | None = None
        self._failure: str | None = None
        self._trouble: str | None = None
        self._look = asyncio.Event()

    async def run(self) -> None:
        """Keep it until cancelled.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the database is away at the start; try again.
        """
        await note_first(self._database, self.projection)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve())
            if self.projection.tables:
                group.create_task(self._rebuild_when_asked())

    def wake(self) -> None:
        """Look at once whether a rebuild is asked for."""
        self._look.set()

    def problems(self) -> list[str]:
        """Return why the read model is not kept as it should be; empty where all is well."""
        return [*self.consumer.problems(), *([self._trouble] if self._trouble else [])]

    async def status(self) -> ProjectionStatus:
        """Return which version serves, and how far a rebuild is."""
        projection = self.projection
        async with self._database.read() as conn:
            served = await read_serving(conn, projection.name)
            asked_at = await conn.scalar(select(rebuilds.c.asked_at).where(rebuilds.c.projection == projection.name))
        return ProjectionStatus(
            name=projection.name,
            version=served.version,
            since=served.since,
            behind=self.consumer.lag(),
            feeds=self.consumer.knowledge(),
            rebuildable=bool(projection.tables),
            rebuild=None if asked_at is None else self._rebuild_status(asked_at),
        )

    def _rebuild_status(self, asked_at: datetime) -> RebuildStatus:
        rebuild, version = self._rebuild, self.projection.version
        behind = {} if rebuild is None or rebuild.builder is None else rebuild.builder.lag()
        problem = self._failure if rebuild is None else next(iter(rebuild.problems()), None)
        return RebuildStatus(asked_at=asked_at, version=version, behind=behind, problem=problem)

    async def _serve(self) -> None:
        while True:
            async with self._database.read() as conn:
                served = await read_serving(conn, self.projection.name)
            self._trouble = self._mismatch(served.version)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self._consume(served.version))
                await self._until_another_than(served)
                await end(running)
            if self.projection.after_commit is not None:
                await self.projection.after_commit([])

    async def _consume(self, version: int) -> None:
        """Keep what serves up to date; not with code that is older than it."""
        if version <= self.projection.version:
            projection = replace(self.projection, version=version)
            known = self.consumer.hand_over()
            self.consumer = Consumer(
                projection, self._database, self._broker, self._site, record_gap=self._record_gap, states=known
            )
            await self.consumer.run()

    def _mismatch(self, version: int) -> str | None:
        name, own = self.projection.name, self.projection.version
        if version > own:
            return (
                f"version {version} of {name} serves, this release knows version {own} and keeps away from it. "
                f"Run the newer release, or rebuild: spoel projections rebuild {name}"
            )
        if version < own and not self.projection.tables:
            return f"version {version} of {name} serves, not version {own}, and it names no tables to rebuild"
        return None

    async def _until_another_than(self, served: Serving) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S if self._rebuild is None else LOOK_EVERY_S / 10)
            try:
                async with self._database.read() as conn:
                    if await read_serving(conn, self.projection.name) != served:
                        return
            except (SQLAlchemyError, OSError) as error:
                _log.warning("serving-not-read", projection=self.projection.name, error=type(error).__name__)

    async def _rebuild_when_asked(self) -> None:
        at_start = True
        while True:
            try:
                if at_start or await self._asked():
                    async with leadership(self._database, f"rebuild:{self.projection.name}"):
                        await self._rebuild_or_clean()
                    at_start, self._failure = False, None
            except Exception as error:  # noqa: BLE001 - the model that serves goes on whatever becomes of the rebuild
                self._failure = describe(_first_of(error))
                _log.warning("rebuild.failed", projection=self.projection.name, exc_info=True)
                await asyncio.sleep(_AFTER_FAILURE_S)
            self._look.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look.wait()

    async def _rebuild_or_clean(self) -> None:
        rebuild = Rebuild(self.projection, self._database, self._package, self._broker, self._site)
        if not await self._asked():
            await rebuild.clean()
            return
        self._rebuild = rebuild
        try:
            await rebuild.run()
        finally:
            self._rebuild = None

    async def _asked(self) -> bool:
        """Tell whether a rebuild is asked for: by a person, or by a version of this code that does not serve yet."""
        name = self.projection.name
        async with self._database.read() as conn:
            asked = await conn.scalar(select(rebuilds.c.asked_at).where(rebuilds.c.projection == name))
            served = await read_serving(conn, name)
        if asked is None and served.version < self.projection.version:
            async with self._database.write() as conn:
                await ask_rebuild(conn, name)
            return True
        return asked is not None


async def note_first(database: Database, projection: Projection) -> None:
    """Note which version serves where that was never noted: the one that has checkpoints, or else the code's own."""
    with suppress(IntegrityError):  # another process was faster
        async with database.write() as conn:
            query = select(serving.c.projection).where(serving.c.projection == projection.name)
            if await conn.scalar(query) is not None:
                return
            known = select(func.max(feeds.c.projection_version)).where(feeds.c.projection == projection.name)
            version = await conn.scalar(known) or projection.version
            now = datetime.now(UTC)
            row = {"projection": projection.name, "projection_version": version, "since": now}
            await conn.execute(insert(serving).values(row))


async def read_serving(conn: AsyncConnection, projection: str) -> Serving:
    """Return which version of a projection serves.

    Raises:
        sqlalchemy.exc.NoResultFound: that was never noted.
    """
    query = select(serving.c.projection_version, serving.c.since).where(serving.c.projection == projection)
    return Serving(*(await conn.execute(query)).one())


async def ask_rebuild(conn: AsyncConnection, projection: str) -> datetime:
    """Ask for a rebuild, in the transaction of ``conn``; return when it was asked for first, if one is under way."""
    query = select(rebuilds.c.asked_at).where(rebuilds.c.projection == projection)
    moment: datetime | None = await conn.scalar(query)
    if moment is None:
        moment = datetime.now(UTC)
        await upsert(conn, rebuilds, [{"projection": projection, "asked_at": moment}])
    return moment


async def cancel_rebuild(conn: AsyncConnection, projection: str) -> bool:
    """Ask for no rebuild any longer; tell whether one was asked for."""
    result = await conn.execute(delete(rebuilds).where(rebuilds.c.projection == projection))
    return bool(result.rowcount)


def _first_of(error: Exception) -> Exception:
    """Return the first error of a group of them, or the error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
