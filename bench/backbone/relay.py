"""Relay to JetStream against a bare loop of atomic batches of the same size.

Both sides send the same stored events, one batch under way at a time, to a server that syncs every message. The bare
loop has bytes, subjects and headers in memory and no SQL: ``publish`` of nats-py for all of a batch but its last
message, ``request`` for that. The relay reads from SQL, encodes, fences, and its cursor is durable when the round ends.
"""

import asyncio
import time

import nats
from nats.aio.client import Client

from spoel_common.ids import new_id
from spoel_common.messaging import Broker, NatsSettings, Relay, ensure_stream
from spoel_common.messaging.relay import read_cursor
from spoel_common.store import START, AggregateRef, Append, EventStore, StoredEvent
from spoel_local.bench import Result, judge

from . import stage

EVENTS = {100: 5_000, 1_000: 10_000}
ROUNDS = 11
TARGET = 0.85
_TIMEOUT_S = 30.0

Ready = tuple[str, bytes, dict[str, str]]
"""Subject, bytes and headers of a message."""


def run() -> list[Result]:
    """Measure both databases and both sizes of batch."""
    with stage.nats() as server, stage.postgres() as postgres, stage.folder() as place, asyncio.Runner() as loop:
        results = []
        for name, new in (("SQLite", stage.new_sqlite(place)), ("PostgreSQL", stage.new_postgres(postgres))):
            database = loop.run(new)
            store = EventStore(database, stage.NAME)
            for size, count in EVENTS.items():
                loop.run(_fill(store, count - loop.run(store.count())))
                results.append(loop.run(_measure(store, server.url, name, size)))
            loop.run(database.close())
        return results


async def _fill(store: EventStore, count: int) -> None:
    ready = stage.envelopes(count)
    for start in range(0, count, 500):
        await store.append_now(
            [Append(AggregateRef("case", each.subject), 0, [each]) for each in ready[start : start + 500]]
        )


async def _measure(store: EventStore, url: str, name: str, size: int) -> Result:
    broker = await Broker.connect(NatsSettings(servers=(url,)), "bench")
    client = await nats.connect(url)
    ready = [_ready(event) for event in await store.read_after(START, EVENTS[size])]
    pairs = []
    for number in range(1 + ROUNDS):
        relay = Relay(store, broker, batch_events=size)
        await relay.resume()
        ours_s = await _relayed(relay, store, len(ready))
        await broker.jetstream.delete_stream(store.name.stream)
        await ensure_stream(broker, store.name, 1)
        bare_s = await _bare(client, ready, size)
        await broker.jetstream.delete_stream(store.name.stream)
        if number > 0:
            pairs.append((ours_s, bare_s))
    await client.close()
    await broker.close()
    return judge(
        f"relay {len(ready)} events to JetStream, batches of {size}, {name}, against bare batches", pairs, TARGET
    )


async def _relayed(relay: Relay, store: EventStore, count: int) -> float:
    start_s = time.perf_counter()
    pushed = 0
    while pushed < count:
        pushed += await relay.push()
    await relay.save()
    took_s = time.perf_counter() - start_s
    saved = await read_cursor(store)
    assert saved is not None
    assert saved.sequence == pushed == count
    return took_s


async def _bare(client: Client, ready: list[Ready], size: int) -> float:
    start_s = time.perf_counter()
    for start in range(0, len(ready), size):
        await _send(client, ready[start : start + size])
    return time.perf_counter() - start_s


async def _send(client: Client, batch: list[Ready]) -> None:
    batch_id = new_id()
    for number, (subject, raw, headers) in enumerate(batch, start=1):
        headers["Nats-Batch-Id"] = batch_id
        headers["Nats-Batch-Sequence"] = str(number)
        if number < len(batch):
            await client.publish(subject, raw, headers=headers)
    answer = await client.request(subject, raw, timeout=_TIMEOUT_S, headers={**headers, "Nats-Batch-Commit": "1"})
    assert b'"error"' not in answer.data, answer.data


def _ready(event: StoredEvent) -> Ready:
    headers = {"Nats-Msg-Id": event.id, "Spoel-Position": str(event.position), "Spoel-Xid": str(event.xid)}
    return stage.NAME.subject(event.aggregate, event.type), event.raw, headers
