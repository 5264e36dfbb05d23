"""What every part needs: envelopes, empty databases with the backbone's tables, servers on a real disk."""

import asyncio
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from alembic.migration import MigrationContext
from alembic.operations import Operations

from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.store import Database, StoreName, migrations_v1, migrations_v2
from spoel_local.nats_server import NatsServer

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.postgres_server import PostgresServer

NAME = StoreName(site="bench", service="intake", store="main")
TYPE = "spoel.intake.referral-received.v1"

_numbers = itertools.count(1)


def envelopes(count: int, *, versions: int = 1) -> list[Envelope]:
    """Return envelopes of about 900 bytes (400 of them data), ``versions`` of each aggregate one after the other."""
    ids = [f"case-{new_id()}" for _ in range(count // versions)]
    return [_envelope(aggregate_id, version) for aggregate_id in ids for version in range(1, versions + 1)]


def _envelope(aggregate_id: str, version: int) -> Envelope:
    return Envelope(
        id=new_id(),
        source=NAME.source,
        type=TYPE,
        subject=aggregate_id,
        time="2026-11-25T10:00:00Z",
        aggregatetype="case",
        aggregateversion=version,
        correlationid=new_id(),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        actorid="person-19000000130",
        actorroles="clinician,supervisor",
        actorbig="19000000130",
        site=NAME.site,
        data={
            "case_id": aggregate_id,
            "patient_id": new_id(),
            "referrer_big": "19000000130",
            "received_at": "2026-11-25T09:59:59.123456Z",
            "indication": "depression",
            "steps": [{"kind": "antidepressant", "weeks": 8}, {"kind": "psychotherapy", "weeks": 16}],
            "sealed_note": "Q2Fubm90IGJlIHJlYWQgaGVyZSwgYnV0IGl0IGhhcyB0aGUgbGVuZ3RoIG9mIGEgc2hvcnQgbm90ZQ==",
        },
    )


@contextmanager
def folder() -> Iterator[Path]:
    """Give a new folder on the disk that temporary files are on; removed behind it."""
    path = Path(tempfile.mkdtemp(prefix="spoel-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL that syncs every commit to a real disk."""
    server = PostgresServer(durable=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def nats() -> Iterator[NatsServer]:
    """Run a nats-server that syncs every message to a real disk."""
    with folder() as place:
        server = NatsServer.start(place)
        try:
            yield server
        finally:
            server.stop()


async def new_sqlite(place: Path) -> Database:
    """Open a new SQLite database with the backbone's tables."""
    return await with_tables(f"sqlite:///{place}/{next(_numbers)}.db")


async def new_postgres(server: PostgresServer) -> Database:
    """Open a new PostgreSQL database with the backbone's tables."""
    return await Database.open(await new_postgres_url(server))


async def new_postgres_url(server: PostgresServer) -> str:
    """Make a new PostgreSQL database with the backbone's tables and return its address."""
    name = f"bench_{next(_numbers)}"
    conn = await asyncpg.connect(server.url("postgres"))
    await conn.execute(f"CREATE DATABASE {name}")
    await conn.close()
    await (await with_tables(server.url(name))).close()
    return server.url(name)


async def with_tables(url: str) -> Database:
    """Open a new database and make the backbone's tables in it."""
    database = await Database.open(url)
    async with database.write() as conn:
        await conn.run_sync(_make_tables)
    return database


def _make_tables(connection: object) -> None:
    operations = Operations(MigrationContext.configure(connection))
    migrations_v1.upgrade(operations)
    migrations_v2.upgrade(operations)


def in_loop() -> asyncio.Runner:
    """Return a runner whose loop stays open from round to round."""
    return asyncio.Runner()
