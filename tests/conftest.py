"""What all tests may ask for: real databases and a real NATS, started once, with a fresh place in them for each test.

* ``sqlite_url``, ``postgres_url``: the address of an empty database of this test's own.
* ``database_url``: either of them, the test runs twice.
* ``database``: likewise, open and with the tables of ``migrations_v1``; ``other_database``: a second one of that kind.
* ``nats_server``: one server for all tests; ``nats_url``, ``nats_settings`` lead to it.
* ``own_nats``: a server that the test may stop, kill and start again.
* ``weak_nats``: settings of a server that does not sync every message.
* ``site``: a site name of this test's own; its streams are deleted behind it.
* ``background``: runs something beside the test; ``eventually``: waits for a condition.
* ``collector``: receives traces.
* ``broker``: a connection named ``test``; ``connect(name)`` opens more of them.
"""

import asyncio
import gc
import itertools
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import nats
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from tests.collector import Collector
from tests.postgres_server import PostgresServer, memory_disk

from spoel_common.messaging import Broker, NatsSettings
from spoel_common.store import Database, migrations_v1, migrations_v2
from spoel_local.nats_server import NatsServer, binary

gc.set_threshold(50_000, 20, 20)  # the tests and libraries are some million objects that stay: look at them less often

_TEMPLATE = "spoel_template"
_LONGEST_FIRST = (
    "system/test_chaos.py",
    "system/test_kill_rounds.py",
    "system/test_personal_data.py",
    "system/test_commands.py",
    "system/test_demo_way.py",
    "common/test_rebuild.py",
    "common/test_skipped_events.py",
    "stimulation/heart/test_search.py",
    "common/test_cluster.py",
    "common/test_relay_killed.py",
    "common/test_consumer_cluster.py",
)
"""The files that take longest: begun last, they would keep one worker busy while the others have ended."""
_THREAD_ENDS_WITHIN_S = 10.0
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, then those that start processes; the other files keep their order."""
    items.sort(key=_when)


def _when(item: pytest.Item) -> int:
    folder, file = item.path.parent.name, item.path.as_posix()
    for place, longest in enumerate(_LONGEST_FIRST):
        if file.endswith(longest):
            return place
    return len(_LONGEST_FIRST) + (folder != "system")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what was collected: it stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a file that leaves a thread behind: it would go on in the middle of other tests."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(_THREAD_ENDS_WITHIN_S)
        assert not thread.is_alive(), f"the thread {thread.name!r} goes on behind the tests of this file"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        asyncio.run(_make_template(server))
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres_server) -> Iterator[str]:
    yield from _postgres_database(postgres_server, "template1")


@pytest.fixture(scope="session")
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: no test pulls the plug, and a busy disk makes every commit wait."""
    folder = Path(tempfile.mkdtemp(prefix="spoel-tests-", dir=memory_disk()))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sqlite_url(new_sqlite) -> str:
    return new_sqlite()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request) -> str:
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def new_sqlite(fast_folder) -> Iterator[Callable[[], str]]:
    folder = fast_folder / str(next(_numbers))
    folder.mkdir()
    yield lambda: f"sqlite:///{folder}/{next(_numbers)}.db"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_postgres(postgres_server) -> Iterator[Callable[[], str]]:
    """Return a function that makes a database with tables and returns its address."""
    made: list[Iterator[str]] = []

    def make() -> str:
        made.append(_postgres_database(postgres_server, _TEMPLATE))
        return next(made[-1])

    yield make
    for database in made:
        next(database, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request) -> Callable[[], str]:
    return request.getfixturevalue("new_sqlite" if request.param == "sqlite" else "new_postgres")


@pytest.fixture
async def open_database() -> AsyncIterator[Callable[[str], Awaitable[Database]]]:
    """Return a function that opens a database and makes its tables where it is new."""
    opened: list[Database] = []

    async def open_one(url: str) -> Database:
        database = await Database.open(url)
        opened.append(database)
        if database.dialect == "sqlite" and not database.path.exists():
            async with database.write() as conn:
                await conn.run_sync(_make_tables)
        return database

    yield open_one
    for database in opened:
        await database.close()


@pytest.fixture
async def database(open_database, new_database) -> Database:
    return await open_database(new_database())


@pytest.fixture
async def other_database(open_database, new_database) -> Database:
    return await open_database(new_database())


@pytest.fixture(scope="session")
def nats_server(fast_folder) -> Iterator[NatsServer]:
    server = NatsServer.start(fast_folder / "nats")
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server) -> str:
    return nats_server.url


@pytest.fixture
def nats_settings(nats_server) -> NatsSettings:
    return NatsSettings(servers=(nats_server.url,), monitor_url=nats_server.monitor_url)


class OwnNats:
    """A server that a test may stop, kill and start again at the same address, with what it stored."""

    def __init__(self, folder) -> None:
        self._folder = folder
        self.server = NatsServer.start(folder)
        self.settings = NatsSettings(servers=(self.server.url,), monitor_url=self.server.monitor_url)

    def kill(self) -> None:
        self.server.kill()

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server = NatsServer.start(self._folder, self.server.port, self.server.monitor_port)


@pytest.fixture
def own_nats(tmp_path) -> Iterator[OwnNats]:
    own = OwnNats(tmp_path / "nats")
    yield own
    own.stop()


@pytest.fixture
def weak_nats(tmp_path) -> Iterator[NatsSettings]:
    """A server as it comes: it syncs every two minutes, and may lose what it acknowledged."""
    (tmp_path / "weak.conf").write_text(
        f"listen: '127.0.0.1:-1'\nhttp: '127.0.0.1:-1'\nports_file_dir: '{tmp_path}'\n"
        f"jetstream {{ store_dir: '{tmp_path}/weak' }}\n"
    )
    process = subprocess.Popen([binary(), "-c", tmp_path / "weak.conf"], stderr=subprocess.DEVNULL)
    ports_file = tmp_path / f"nats-server_{process.pid}.ports"
    deadline_s = time.monotonic() + 10
    while not (ports_file.exists() and ports_file.read_text()) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    ports = json.loads(ports_file.read_text())
    yield NatsSettings(servers=ports["nats"], monitor_url=ports["monitoring"][0])
    process.terminate()
    process.wait(10)


@pytest.fixture
async def site(request) -> AsyncIterator[str]:
    name = f"t{next(_numbers)}"
    yield name
    if "nats_server" in request.fixturenames:
        await _delete_streams(request.getfixturevalue("nats_server").url, f"spoel_{name}_")


@pytest.fixture
async def connect(nats_settings) -> AsyncIterator[Callable[[str], Awaitable[Broker]]]:
    opened: list[Broker] = []

    async def open_one(name: str, settings: NatsSettings = nats_settings) -> Broker:
        opened.append(await Broker.connect(settings, name))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()


@pytest.fixture
async def broker(connect) -> Broker:
    return await connect("test")


@pytest.fixture
async def background() -> AsyncIterator[Callable[[Coroutine[None, None, None]], asyncio.Task[None]]]:
    """Return a function that runs a coroutine beside the test; an error in it fails the test."""
    tasks: list[asyncio.Task[None]] = []

    def start(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [error for error in ended if isinstance(error, Exception)] == []


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Return a function that waits until a condition holds, or fails with what it was told to show."""

    async def wait(condition: Callable[[], object], within_s: float = 10.0, show: Callable[[], object] = str) -> None:
        began_s = time.monotonic()
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            waited_s = time.monotonic() - began_s
            if waited_s > within_s:
                pytest.fail(f"did not happen within {within_s} s: {show()}")
            await asyncio.sleep(min(0.01 + waited_s / 20, 0.05))  # asking is work too: who waits long asks less often

    return wait


async def _make_template(server: PostgresServer) -> None:
    await _on_server(server, f"CREATE DATABASE {_TEMPLATE}")
    database = await Database.open(server.url(_TEMPLATE))
    async with database.write() as conn:
        await conn.run_sync(_make_tables)
    await database.close()


def _make_tables(connection) -> None:
    operations = Operations(MigrationContext.configure(connection))
    migrations_v1.upgrade(operations)
    migrations_v2.upgrade(operations)


def _postgres_database(server: PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _in_thread(_on_server(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
    yield server.url(name)
    _in_thread(_on_server(server, f"DROP DATABASE {name} WITH (FORCE)"))


def _in_thread(work: Coroutine[None, None, None]) -> None:
    """Run ``work`` to its end, also where a loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result(timeout=90)


async def _on_server(server: PostgresServer, statement: str) -> None:
    conn = await asyncpg.connect(server.url("postgres"), timeout=10)
    try:
        await conn.execute(statement)
    finally:
        await conn.close()


async def _delete_streams(url: str, prefix: str) -> None:
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            if stream.config.name.startswith(prefix):
                await jetstream.delete_stream(stream.config.name)
    finally:
        await client.close()
