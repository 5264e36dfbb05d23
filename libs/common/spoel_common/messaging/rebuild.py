"""A read model is built anew from the first event, beside the one that serves, and then takes its place.

The builder is a consumer like any other, in a database beside the service's own (``store.beside``), so nothing half
built can be seen. The switch is one transaction of the service's database: it holds up the consumer that serves, waits
until the builder is as far, copies the builder's rows in place of the old ones, with its checkpoints, heads and held
events, and notes which version serves. Who reads meanwhile sees the old model, whole; then the new one, whole.

It is refused while the new model lacks anything that the old one has: knowledge never goes back (INV-4). Whatever
happens before the commit, the old model serves on, and the next attempt begins with nothing.
"""

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from sqlalchemy import ColumnElement, MetaData, Table, and_, delete, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.cancellation import end
from spoel_common.messaging.broker import Broker
from spoel_common.messaging.consumer import Consumer
from spoel_common.messaging.projection import Projection
from spoel_common.store import START, Beside, Cursor, Database, upsert
from spoel_common.store.schema import feeds, held, inbox, rebuilds, serving

_log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.1
_HOLD_UP_S = 1.0
"""How long the switch holds up the consumer that serves, waiting for the builder to be as far."""

_TRY_AGAIN_S = 1.0


class _NotYet(Exception):
    """The builder is not as far as the model that serves."""


class Rebuild:
    """One rebuild of a projection.

    Args:
        projection: what to build, in the version to build.
        database: the service's own.
        package: the service's package, whose migrations make the tables.
        broker: where the events come from.
        site: whose streams.

    Attributes:
        builder: the consumer that builds, once it was begun.
        problem: why the last attempt to switch came to nothing, or None.
    """

    def __init__(self, projection: Projection, database: Database, package: str, broker: Broker, site: str) -> None:
        self.builder: Consumer | None = None
        self.problem: str | None = None
        self._projection = projection
        self._database = database
        self._package = package
        self._broker = broker
        self._site = site
        self._beside = Beside(database, f"rebuild-{projection.name}")

    async def run(self) -> None:
        """Build from the first event and switch; return also when the rebuild is no longer asked for.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: the database failed; the old model serves, begin again.
        """
        projection = self._projection
        building = replace(projection, name=f"{projection.name}-rebuild", after_commit=None)
        async with self._beside.open(self._package) as beside:
            self.builder = builder = Consumer(building, beside, self._broker, self._site)
            while await self._asked():
                if await self._build_and_switch(builder):
                    break
                await asyncio.sleep(_TRY_AGAIN_S)
        await self._beside.drop()
        await builder.forget()

    def problems(self) -> list[str]:
        """Return why it is not at its end: what the builder says, and why the last attempt to switch failed."""
        told = [] if self.builder is None else self.builder.problems()
        return told if self.problem is None else [self.problem, *told]

    async def clean(self) -> None:
        """Remove what a rebuild left that was cut short."""
        await self._beside.drop()

    async def _build_and_switch(self, builder: Consumer) -> bool:
        """Build on, and try once to switch when everything there is was taken in; tell whether it was done."""
        async with asyncio.TaskGroup() as group:
            running = group.create_task(builder.run())
            try:
                await self._catch_up(builder)
                await self._switch(builder, running)
            except _NotYet as reason:
                self.problem = str(reason)
                _log.info("rebuild.not-yet", projection=self._projection.name, reason=self.problem)
                await end(running)
                return False
        _log.info("rebuild.switched", projection=self._projection.name, version=self._projection.version)
        return True

    async def _catch_up(self, builder: Consumer) -> None:
        while not builder.lag() or any(builder.lag().values()):
            if not await self._asked():
                raise _NotYet("it is no longer asked for")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _asked(self) -> bool:
        async with self._database.read() as conn:
            return await _asked_at(conn, self._projection.name) is not None

    async def _switch(self, builder: Consumer, running: asyncio.Task[None]) -> None:
        async with self._beside.write() as conn:
            goal = await self._hold_up(conn)
            await self._reach(builder, goal)
            await end(running)
            await self._beside.show(conn)
            await self._check_nothing_lacks(conn)
            await self._replace(conn)

    async def _hold_up(self, conn: AsyncConnection) -> dict[str, Cursor]:
        """Lock what serves until the end of ``conn``; return how far it is, by source.

        Raises:
            _NotYet: the rebuild is no longer asked for.
        """
        name = self._projection.name
        if await _asked_at(conn, name, lock=True) is None:
            raise _NotYet("it is no longer asked for")
        now = {"projection": name, "projection_version": self._projection.version, "since": datetime.now(UTC)}
        await upsert(conn, serving, [now])
        query = select(feeds).where(feeds.c.projection == name, self._followed(feeds)).with_for_update()
        rows = await conn.execute(query)
        return {row.source: Cursor(row.xid, row.position) for row in rows}

    async def _reach(self, builder: Consumer, goal: dict[str, Cursor]) -> None:
        """Wait until the builder is as far as ``goal``.

        Raises:
            _NotYet: it is not, in time.
        """
        try:
            async with asyncio.timeout(_HOLD_UP_S):
                while _behind(builder, goal):  # noqa: ASYNC110 - another task moves it, in steps of a few milliseconds
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise _NotYet(f"behind the model that serves: {'; '.join(_behind(builder, goal))}") from error

    async def _check_nothing_lacks(self, conn: AsyncConnection) -> None:
        """Compare the heads of all aggregates.

        Raises:
            _NotYet: the model that serves has taken in events that the new one has not.
        """
        new = self._shown(inbox).alias("new")
        key = ("source", "aggregate_type", "aggregate_id")
        same = and_(*(new.c[name] == inbox.c[name] for name in key), new.c.last_version >= inbox.c.last_version)
        taken_in = select(new.c.source).where(same).correlate(inbox).exists()
        lacking = and_(inbox.c.projection == self._projection.name, self._followed(inbox), ~taken_in)
        query = select(func.count(), func.min(inbox.c.aggregate_id)).where(lacking)
        number, example = (await conn.execute(query)).one()
        if number:
            raise _NotYet(
                f"{number} aggregates, such as {example}, have events that the model that serves has taken in and the "
                "new one has not: they cannot be applied any more, or a stream lacks them. The log says which."
            )

    async def _replace(self, conn: AsyncConnection) -> None:
        around = self._projection.around_switch
        async with nullcontext() if around is None else around(conn):
            for table in self._projection.tables:
                await conn.execute(delete(table))
                await conn.execute(insert(table).from_select(table.c.keys(), select(self._shown(table))))
        name = self._projection.name
        for table in (feeds, inbox, held):
            await conn.execute(delete(table).where(table.c.projection == name))
            shown = self._shown(table)
            copied = [column.name for column in table.c if column.name not in ("projection", "held_id")]
            rows = select(literal(name), *(shown.c[column] for column in copied))
            await conn.execute(insert(table).from_select(["projection", *copied], rows))
        await conn.execute(delete(rebuilds).where(rebuilds.c.projection == name))

    def _shown(self, table: Table) -> Table:
        return table.to_metadata(MetaData(), schema=self._beside.schema)

    def _followed(self, table: Table) -> ColumnElement[bool]:
        """Only the sources that the new version reads: it may have given one up."""
        begins = (f"/spoel/{self._site}/{service}/" for service in self._projection.services)
        return or_(*(table.c.source.startswith(begin, autoescape=True) for begin in begins))


def _behind(builder: Consumer, goal: dict[str, Cursor]) -> list[str]:
    progress = builder.progress()
    return [
        f"{source} at {progress.get(source, START).position} of {cursor.position}"
        for source, cursor in goal.items()
        if progress.get(source, START) < cursor
    ]


async def _asked_at(conn: AsyncConnection, projection: str, *, lock: bool = False) -> datetime | None:
    query = select(rebuilds.c.asked_at).where(rebuilds.c.projection == projection)
    moment: datetime | None = await conn.scalar(query.with_for_update() if lock else query)
    return moment
