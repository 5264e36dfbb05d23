"""Append: the store's hot path against the bare drivers, and against the library ``eventsourcing``.

Ours checks versions and writes an answer's row with every transaction; the bare side writes the events only.
"""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncpg

from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.store import AggregateRef, Append, Database, EventStore, NewAnswer
from spoel_common.store.job import Job, job_of
from spoel_local.bench import Result, judge

from . import stage

ROUNDS = 7
BULK = 20_000
LIBRARY = Path(__file__).parent / "others" / "eventsourcing_recorder.py"
LIBRARY_EVENTS = 10_000
NO_TARGET = {"target": None, "met": None}
SINGLE = 1_500
AGGREGATE = 10
"""Events of one aggregate that a transaction of 100 appends together."""

_COLUMNS = "INSERT INTO events (id, aggregate_type, aggregate_id, version, type, raw)"
_SQLITE = f"{_COLUMNS} VALUES (?, ?, ?, ?, ?, ?)"
_POSTGRES = (
    f"{_COLUMNS} SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bytea[])"
)

Batches = list[list[Envelope]]
Side = Callable[[Batches], Awaitable[None]]


def run() -> list[Result]:
    """Measure appends on both databases."""
    with stage.folder() as place, stage.postgres() as server:
        return asyncio.run(_measure(place, server))


async def _measure(place: Path, server: stage.PostgresServer) -> list[Result]:
    sqlite, bare_sqlite = await stage.new_sqlite(place), await stage.new_sqlite(place)
    postgres = await stage.new_postgres(server)
    bare_postgres = await asyncpg.connect(await stage.new_postgres_url(server))
    driver, asyncpg_driver = _bare_sqlite(bare_sqlite), _bare_postgres(bare_postgres)
    one = "append 1 a transaction"
    results = [
        await _compare("append 100 a transaction, SQLite", _ours(sqlite), driver, BULK, 100, 0.70),
        await _compare("append 100 a transaction, PostgreSQL", _ours(postgres), asyncpg_driver, BULK, 100, 0.70),
        await _compare(f"{one}, one caller, SQLite", _ours(sqlite), driver, SINGLE, 1, 0.40),
        await _compare(f"{one}, one caller, PostgreSQL", _ours(postgres), asyncpg_driver, SINGLE, 1, 0.60),
        await _compare(f"{one}, 64 callers, SQLite", _many_callers(sqlite), driver, 4 * SINGLE, 1, 2.0),
    ]
    results += await _against_the_library(server)
    for database in (sqlite, bare_sqlite, postgres):
        await database.close()
    await bare_postgres.close()
    return results


async def _compare(what: str, ours: Side, bare: Side, events: int, size: int, target: float) -> Result:
    pairs = []
    for _ in range(ROUNDS + 1):
        mine, other = _batches(events, size), _batches(events, size)
        pairs.append((await _seconds(ours, mine), await _seconds(bare, other)))
    return _as_rate(judge(what, pairs[1:], target), events)  # without the first round, which warms up


def _as_rate(result: Result, events: int) -> Result:
    return result.model_copy(
        update={"value": events / result.value, "baseline": events / (result.baseline or 1), "unit": "events/s"}
    )


def _batches(events: int, size: int) -> Batches:
    made = stage.envelopes(events, versions=min(AGGREGATE, size))
    return [made[start : start + size] for start in range(0, events, size)]


async def _seconds(side: Side, batches: Batches) -> float:
    start = time.perf_counter()
    await side(batches)
    return time.perf_counter() - start


def _appends(batch: Sequence[Envelope]) -> list[Append]:
    return [
        Append(AggregateRef("case", batch[start].subject), 0, batch[start : start + AGGREGATE])
        for start in range(0, len(batch), AGGREGATE)
    ]


def _answer() -> NewAnswer:
    return NewAnswer("person-1", "POST /referrals", new_id(), "0" * 64, 201, b'{"body":"{}"}', datetime.now(UTC))


def _ours(database: Database) -> Side:
    store = EventStore(database, stage.NAME)

    async def append(batches: Batches) -> None:
        for batch in batches:
            await store.append_now(_appends(batch), _answer())

    return append


def _many_callers(database: Database) -> Side:
    store = EventStore(database, stage.NAME)

    async def call(batches: Batches) -> None:
        for batch in batches:
            await store.append_now(_appends(batch), _answer())

    async def append(batches: Batches) -> None:
        await asyncio.gather(*(call(batches[caller::64]) for caller in range(64)))

    return append


def _row(envelope: Envelope) -> tuple[str, str, str, int, str, bytes]:
    raw = envelope.model_dump_json(exclude_none=True).encode()
    return envelope.id, envelope.aggregatetype, envelope.subject, envelope.aggregateversion, envelope.type, raw


def _bare_sqlite(database: Database) -> Side:
    conn = sqlite3.connect(str(database.path), isolation_level=None)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("PRAGMA synchronous=FULL")

    async def append(batches: Batches) -> None:
        for batch in batches:
            conn.execute("BEGIN IMMEDIATE")
            conn.executemany(_SQLITE, [_row(envelope) for envelope in batch])
            conn.execute("COMMIT")

    return append


def _bare_postgres(conn: asyncpg.Connection) -> Side:
    async def append(batches: Batches) -> None:
        for batch in batches:
            await conn.execute(_POSTGRES, *zip(*(_row(envelope) for envelope in batch), strict=True))

    return append


async def _against_the_library(server: stage.PostgresServer) -> list[Result]:
    """Append ready bytes, 100 a transaction: ours, the bare driver, and the library in a process of its own.

    Each starts with an empty database of the same server. The bare driver's ratio says how much of ours is the driver.
    """
    ours = await stage.new_postgres(server)
    bare = await asyncpg.connect(await stage.new_postgres_url(server))
    name = (await stage.new_postgres_url(server)).rpartition("/")[2]
    size = str(len(stage.envelopes(1)[0].to_bytes()))
    command = [sys.executable, str(LIBRARY), "127.0.0.1", str(server.port), "spoel", name, str(LIBRARY_EVENTS), size]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the library's process has no pipes")
    process.stdin.write(f"{server.password}\n".encode())
    rounds = []
    for _ in range(ROUNDS + 1):
        mine, driver = await _ready_bytes(ours.appender.append), await _ready_bytes(partial(_insert, bare))
        process.stdin.write(b"once more\n")
        await process.stdin.drain()
        rounds.append((mine, driver, float(await process.stdout.readline())))
    process.stdin.close()
    await process.wait()
    await ours.close()
    await bare.close()
    what = "append ready bytes 100 a transaction, PostgreSQL, against the library eventsourcing with DB functions"
    theirs = judge(what, [(mine, library) for mine, _, library in rounds[1:]], 4.0)
    drivers = judge(f"{what}: the bare driver", [(driver, library) for _, driver, library in rounds[1:]], 0.0)
    return [_as_rate(theirs, LIBRARY_EVENTS), _as_rate(drivers, LIBRARY_EVENTS).model_copy(update=NO_TARGET)]


async def _insert(conn: asyncpg.Connection, job: Job) -> None:
    await conn.execute(_POSTGRES, *zip(*job.rows, strict=True))


async def _ready_bytes(append: Callable[[Job], Awaitable[object]]) -> float:
    jobs = [job_of(stage.NAME, _appends(batch), _answer()) for batch in _batches(LIBRARY_EVENTS, 100)]
    start = time.perf_counter()
    for job in jobs:
        await append(job)
    return time.perf_counter() - start
