"""A service with one read model that can be rebuilt: totals by aggregate. Version 2 counts in tens."""

import asyncio
import logging
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from sqlalchemy import BigInteger, Column, MetaData, String, Table, func, select

from spoel_common.events import Catalogue, ForeignEvent
from spoel_common.messaging import Broker, Keeper, NatsSettings, Projection, ask_rebuild
from spoel_common.store import Database, migrate, upsert

PACKAGE = "spoel_ledger"
MIGRATION = """
import sqlalchemy as sa
from alembic import op
from spoel_common.store import migrations_v1, migrations_v2

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrations_v1.upgrade(op)
    migrations_v2.upgrade(op)
    op.create_table(
        "ledger",
        sa.Column("aggregate", sa.String, primary_key=True),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
    )
"""
LEDGER = Table(
    "ledger",
    MetaData(),
    Column("aggregate", String, primary_key=True),
    Column("total", BigInteger),
    Column("events", BigInteger),
)


class Seen(ForeignEvent):
    service = "intake"
    event_name = "counted"
    number: int


def write_package(root: Path) -> None:
    versions = root / PACKAGE / "migrations" / "versions"
    versions.mkdir(parents=True)
    (root / PACKAGE / "__init__.py").touch()
    (versions / "v0001_first.py").write_text(MIGRATION)
    sys.path.insert(0, str(root))


class Ledger:
    """The service, open: ``keeper`` keeps its read model once somebody runs it.

    Attributes:
        poison: a number that this version cannot add, if any.
        told: how often the read model's users were told of a change.
    """

    def __init__(self, database: Database, broker: Broker, site: str, version: int = 1) -> None:
        self.database = database
        self.version = version
        self.poison: int | None = None
        self.told = 0
        self.projection = Projection(
            "ledger",
            version,
            ("intake",),
            Catalogue([Seen]),
            self._apply,
            self._after_commit,
            tables=(LEDGER,),
            around_switch=self._around,
        )
        self.around = None
        self.keeper = Keeper(self.projection, database, PACKAGE, broker, site)

    async def _apply(self, conn, envelope, decoded, _raw) -> None:
        if decoded.number == self.poison:
            raise ArithmeticError("cannot add this")
        row = (await conn.execute(select(LEDGER).where(LEDGER.c.aggregate == envelope.subject))).one_or_none()
        total, events = (0, 0) if row is None else (row.total, row.events)
        number = decoded.number * 10 ** (self.version - 1)
        await upsert(conn, LEDGER, [{"aggregate": envelope.subject, "total": total + number, "events": events + 1}])

    async def _after_commit(self, _applied) -> None:
        self.told += 1

    @asynccontextmanager
    async def _around(self, _conn):
        yield
        if self.around is not None:
            await self.around()

    async def rows(self) -> dict[str, tuple[int, int]]:
        async with self.database.read() as conn:
            return {row.aggregate: (row.total, row.events) for row in await conn.execute(select(LEDGER))}

    async def events(self) -> int:
        async with self.database.read() as conn:
            return int((await conn.execute(select(func.sum(LEDGER.c.events)))).scalar_one() or 0)

    async def ask(self) -> None:
        async with self.database.write() as conn:
            await ask_rebuild(conn, "ledger")
        self.keeper.wake()

    async def rebuilding(self):
        return (await self.keeper.status()).rebuild


async def main() -> None:
    """Be a process that keeps the ledger: arguments are root, database, NATS, site, version."""
    root, url, nats_url, site, version = sys.argv[1:]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.path.insert(0, root)
    database = await Database.open(url)
    await migrate(database, PACKAGE)
    broker = await Broker.connect(NatsSettings(servers=(nats_url,)), "ledger-main")
    ledger = Ledger(database, broker, site, int(version))
    keeping = asyncio.create_task(ledger.keeper.run())
    while ledger.keeper._rebuild is None or ledger.keeper._rebuild.builder is None:
        await asyncio.sleep(0.005)
    sys.stdout.write("building\n")
    sys.stdout.flush()
    await keeping


if __name__ == "__main__":
    asyncio.run(main())
