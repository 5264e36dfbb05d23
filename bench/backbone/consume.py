"""Consuming: fetch, decode, hash, inbox, projection, checkpoint, commit, acknowledge, in batches of 250.

Ours is the real consumer with a read model that upserts a row for each event (of several rows of one case in a batch
``upsert`` writes the last, as for any read model); the bare side is ``fetch`` of the client library,
one ``executemany`` of (id, raw) with the driver itself, commit, and an acknowledgement of each message. Both read the
same stream of a server that syncs always, into a new database on a real disk. The events are of 100 cases at a time,
five of each, as in a clinic at work; every fifth event is of a new case.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import asyncpg
import nats
from nats.js import JetStreamContext
from sqlalchemy import Column, MetaData, String, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Catalogue, Envelope, ForeignEvent
from spoel_common.messaging import Broker, Consumer, NatsSettings, Projection, Received, ensure_stream
from spoel_common.messaging.publish import publish_batch
from spoel_common.store import AggregateRef, Database, StoredEvent, upsert
from spoel_common.store.schema import BigInt, UtcDateTime
from spoel_local.bench import Result, judge

from . import stage

BATCH = 250
MESSAGES = 10_000
ROUNDS = 5
CASES_AT_ONCE = 100
EVENTS_A_CASE = 5

CASES = Table(
    "cases",
    MetaData(),
    Column("case_id", String, primary_key=True),
    Column("patient_id", String, nullable=False),
    Column("indication", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("version", BigInt, nullable=False),
)


class ReferralReceived(ForeignEvent):
    """What the read model needs of the event."""

    service = "intake"
    event_name = "referral-received"
    case_id: str
    patient_id: str
    indication: str
    received_at: datetime


class Cases:
    """The read model, and word of when all of it is there."""

    def __init__(self, name: str) -> None:
        self.projection = Projection(
            name,
            1,
            (stage.NAME.service,),
            Catalogue([ReferralReceived]),
            after_commit=self._count,
            apply_batch=self._apply,
        )
        self.complete = asyncio.Event()
        self._count_left = MESSAGES

    async def _apply(self, conn: AsyncConnection, events: Sequence[Received]) -> None:
        rows = [event.decoded.model_dump() | {"version": event.envelope.aggregateversion} for event in events]
        await upsert(conn, CASES, rows)

    async def _count(self, applied: list[Envelope]) -> None:
        self._count_left -= len(applied)
        if self._count_left == 0:
            self.complete.set()


def run() -> list[Result]:
    """Measure both databases."""
    with stage.nats() as server, stage.folder() as place, stage.postgres() as postgres, stage.in_loop() as runner:
        broker = runner.run(Broker.connect(NatsSettings(servers=server.url), "bench"))
        runner.run(_fill(broker))
        bare_client = runner.run(nats.connect(server.url))
        jetstream = bare_client.jetstream()

        async def on_postgres(name: str) -> float:
            return await _ours(broker, await stage.new_postgres(postgres), name)

        async def on_sqlite(name: str) -> float:
            return await _ours(broker, await stage.new_sqlite(place), name)

        async def bare_sqlite(name: str) -> float:
            return await _bare_sqlite(jetstream, place / f"{name}.db", name)

        async def bare_postgres(name: str) -> float:
            return await _bare_postgres(jetstream, postgres.url("postgres"), name)

        sides = {"SQLite": (on_sqlite, bare_sqlite, 0.70), "PostgreSQL": (on_postgres, bare_postgres, 0.65)}
        results = [
            judge(
                f"{MESSAGES} messages taken in, {BATCH} a batch, {dialect}: against fetch + executemany + ack",
                runner.run(_alternate(dialect, ours, bare)),
                target,
            )
            for dialect, (ours, bare, target) in sides.items()
        ]
        runner.run(bare_client.close())
        runner.run(broker.close())
        return results


async def _alternate(
    dialect: str, ours: Callable[[str], Awaitable[float]], bare: Callable[[str], Awaitable[float]]
) -> list[tuple[float, float]]:
    """Return the durations of every round but the first, which warms up."""
    pairs = [
        (await ours(f"{dialect.lower()}-{number}"), await bare(f"bare-{dialect}-{number}"))
        for number in range(ROUNDS + 1)
    ]
    return pairs[1:]


async def _fill(broker: Broker) -> None:
    await ensure_stream(broker, stage.NAME, 1)
    by_case = stage.envelopes(MESSAGES, versions=EVENTS_A_CASE)
    together = CASES_AT_ONCE * EVENTS_A_CASE
    mixed = [
        by_case[start + case * EVENTS_A_CASE + version]
        for start in range(0, MESSAGES, together)
        for version in range(EVENTS_A_CASE)
        for case in range(CASES_AT_ONCE)
    ]
    stored = [_stored(position, envelope) for position, envelope in enumerate(mixed, start=1)]
    for start in range(0, MESSAGES, BATCH):
        await publish_batch(broker, stage.NAME, stored[start : start + BATCH], start)


def _stored(position: int, envelope: Envelope) -> StoredEvent:
    ref = AggregateRef(envelope.aggregatetype, envelope.subject)
    raw = envelope.to_bytes()
    return StoredEvent(position, 0, envelope.id, ref, envelope.aggregateversion, envelope.type, raw)


async def _ours(broker: Broker, database: Database, name: str) -> float:
    async with database.write() as conn:
        await conn.run_sync(CASES.metadata.create_all)
    cases = Cases(name)
    consumer = Consumer(cases.projection, database, broker, stage.NAME.site)
    started_s = time.perf_counter()
    running = asyncio.create_task(consumer.run())
    await cases.complete.wait()
    await _all_acknowledged(broker.jetstream, f"bench--{name}--v1")
    took_s = time.perf_counter() - started_s
    running.cancel()
    await asyncio.wait({running})
    await database.close()
    return took_s


async def _bare_sqlite(jetstream: JetStreamContext, path: Path, name: str) -> float:
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("PRAGMA synchronous=FULL")
        conn.execute("CREATE TABLE plain (id TEXT PRIMARY KEY, raw BLOB NOT NULL)")

        async def insert(rows: list[tuple[str, bytes]]) -> None:
            conn.execute("BEGIN IMMEDIATE")
            conn.executemany("INSERT INTO plain VALUES (?, ?)", rows)
            conn.execute("COMMIT")

        return await _bare(jetstream, name, insert)


async def _bare_postgres(jetstream: JetStreamContext, url: str, name: str) -> float:
    conn = await asyncpg.connect(url)
    await conn.execute("DROP TABLE IF EXISTS plain")
    await conn.execute("CREATE TABLE plain (id TEXT PRIMARY KEY, raw BYTEA NOT NULL)")

    async def insert(rows: list[tuple[str, bytes]]) -> None:
        async with conn.transaction():
            await conn.executemany("INSERT INTO plain VALUES ($1, $2)", rows)

    took_s = await _bare(jetstream, name, insert)
    await conn.close()
    return took_s


async def _bare(
    jetstream: JetStreamContext, name: str, insert: Callable[[list[tuple[str, bytes]]], Awaitable[None]]
) -> float:
    started_s = time.perf_counter()
    subscription = await jetstream.pull_subscribe(stage.NAME.wildcard, durable=name, stream=stage.NAME.stream)
    for _ in range(0, MESSAGES, BATCH):
        messages = await subscription.fetch(BATCH, timeout=10)
        await insert([(message.headers["Nats-Msg-Id"], message.data) for message in messages])
        for message in messages:
            await message.ack()
    await _all_acknowledged(jetstream, name)
    took_s = time.perf_counter() - started_s
    await subscription.unsubscribe()
    return took_s


async def _all_acknowledged(jetstream: JetStreamContext, consumer: str) -> None:
    while True:
        found = await jetstream.consumer_info(stage.NAME.stream, consumer)
        if found.ack_floor is not None and found.ack_floor.stream_seq >= MESSAGES:
            return
        await asyncio.sleep(0.002)
