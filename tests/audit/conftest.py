"""A log in a real database, and stores that feed it."""

import asyncio
import itertools
import shutil
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from spoel_audit.domain import Arrival
from spoel_audit.handlers import Sequencer
from spoel_audit.merkle import CompactRange
from spoel_audit.queries import EventFilter, LoggedEvent, read_entries, read_event, read_log, read_page
from spoel_common.clock import SteppedClock
from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.store import Database, migrate


class Feed:
    """A store whose events arrive in order: one aggregate, versions from 1."""

    def __init__(self, service: str, store: str = "main") -> None:
        self.source = f"/spoel/local/{service}/{store}"
        self._service = service
        self._versions = itertools.count(1)
        self._aggregate = f"aggregate-of-{service}-{store}"

    def event(self, name: str = "train-delivered", data: dict[str, Any] | None = None, **changes: object) -> Arrival:
        attributes = {
            "id": new_id(),
            "source": self.source,
            "type": f"spoel.{self._service}.{name}.v1",
            "subject": self._aggregate,
            "time": "2026-11-22T10:00:00.000000Z",
            "aggregatetype": "session",
            "aggregateversion": next(self._versions),
            "correlationid": "c",
            "actorid": "tech-1",
            "actorroles": "tms-technician",
            "site": "local",
            "data": {"patient_id": "p", "pulses": 40} if data is None else data,
        }
        envelope = Envelope.model_validate({**attributes, **changes})
        return Arrival(envelope, envelope.to_bytes())

    def events(self, count: int) -> list[Arrival]:
        return [self.event() for _ in range(count)]


class Log:
    """The log of one database, as one process sees it; another of these is another process."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SteppedClock()
        self.sequencer = Sequencer(self.clock)

    async def append(self, arrivals: Sequence[Arrival]) -> None:
        async with self.database.write() as conn:
            await self.sequencer.append(conn, arrivals)

    async def head(self) -> CompactRange:
        async with self.database.read() as conn:
            return await read_log(conn)

    async def entries(self) -> list[bytes]:
        async with self.database.read() as conn:
            return await read_entries(conn, 0, 10_000)

    async def event(self, event_id: str) -> LoggedEvent:
        async with self.database.read() as conn:
            found = await read_event(conn, event_id)
        assert found is not None
        return found

    async def page(self, wanted: EventFilter | None = None, after: int = -1, limit: int = 500) -> Sequence[Any]:
        async with self.database.read() as conn:
            return await read_page(conn, wanted or EventFilter(), after, limit, (await read_log(conn)).size)


@pytest.fixture
def new_feed() -> type[Feed]:
    return Feed


@pytest.fixture
def new_log() -> type[Log]:
    return Log


_TEMPLATE = "audit_template"
_numbers = itertools.count(1)


async def migrated(url):
    database = await Database.open(url)
    await migrate(database, "spoel_audit")
    await database.close()


async def on_server(server, statement):
    conn = await asyncpg.connect(server.url("postgres"), timeout=10)
    try:
        await conn.execute(statement, timeout=30)
    finally:
        await conn.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    file = tmp_path_factory.mktemp("audit") / "template.db"
    asyncio.run(migrated(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres_server):
    asyncio.run(on_server(postgres_server, f"CREATE DATABASE {_TEMPLATE}"))
    asyncio.run(migrated(postgres_server.url(_TEMPLATE)))
    return _TEMPLATE


@pytest.fixture
def sqlite_url(tmp_path, sqlite_template):
    """The address of a database that has the log's tables already; migrating each time takes longer than a test."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'log.db')}"


@pytest.fixture
def postgres_url(postgres_server, postgres_template):
    """Likewise on PostgreSQL."""
    name = f"audit_{next(_numbers)}"
    asyncio.run(on_server(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template} STRATEGY FILE_COPY"))
    yield postgres_server.url(name)
    asyncio.run(on_server(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def sqlite_log(sqlite_url):
    async with opened(sqlite_url) as log:
        yield log


@pytest.fixture
async def log(database_url):
    async with opened(database_url) as log:
        yield log


@asynccontextmanager
async def opened(url):
    database = await Database.open(url)
    try:
        yield Log(database)
    finally:
        await database.close()
