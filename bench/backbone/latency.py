"""From the commit of an append to the event being visible in another service's read model, the system idle.

The other service is another process: a consumer with a read model of its own on SQLite. Both processes read the same
monotonic clock: the moment before the append, and the moment at which the row was committed and can be read. Beside
it, the bare latency: ``publish`` of a JetStream message here, ``fetch`` there.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.js.api import StreamConfig

from spoel_common.messaging import Broker, NatsSettings, Relay, WatermarkPublisher
from spoel_common.store import AggregateRef, Append, Database, EventStore
from spoel_local.bench import Result

from . import stage

SAMPLES = 300
ROUNDS = 5
P50_MS, P99_MS = 15.0, 60.0
_PAUSE_S = 0.03
_WARM_UP = 20
_BARE = "bare"

Send = Callable[[], Awaitable[None]]


def run() -> list[Result]:
    """Measure both databases of the service that appends."""
    with stage.nats() as server, stage.postgres() as postgres, stage.folder() as place, asyncio.Runner() as loop:
        return [
            result
            for name, database in (("SQLite", stage.new_sqlite(place)), ("PostgreSQL", stage.new_postgres(postgres)))
            for result in loop.run(_measure(name, loop.run(database), server.url, place))
        ]


async def _measure(name: str, database: Database, url: str, place: Path) -> list[Result]:
    store = EventStore(database, stage.NAME)
    broker = await Broker.connect(NatsSettings(servers=(url,)), "intake-main")
    relay = Relay(store, broker)
    tasks = [asyncio.create_task(relay.run()), asyncio.create_task(WatermarkPublisher(store, broker).run())]
    ours: list[list[float]] = []
    bare: list[list[float]] = []
    async with _other_process(url, f"sqlite:///{place}/reads-{name}.db") as seen, _bare_publisher(url) as publish:
        await _samples(seen, lambda: _append(store), _WARM_UP)
        await _samples(seen, publish, _WARM_UP)
        for _ in range(ROUNDS):
            ours.append(await _samples(seen, lambda: _append(store), SAMPLES // ROUNDS + 1))
            bare.append(await _samples(seen, publish, SAMPLES // ROUNDS + 1))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await broker.jetstream.delete_stream(store.name.stream)
    await broker.jetstream.delete_stream(_BARE)
    await broker.close()
    await database.close()
    what = f"append on {name} to visible in another service's read model, idle"
    return [_result(f"{what}, p{p}", ours, bare, p, target) for p, target in ((50, P50_MS), (99, P99_MS))]


def _result(what: str, ours: list[list[float]], bare: list[list[float]], percentile: int, target: float) -> Result:
    value, baseline = (_percentile([ms for each in rounds for ms in each], percentile) for rounds in (ours, bare))
    by_round = [_percentile(each, percentile) for each in ours]
    return Result(
        what=what,
        value=value,
        unit="ms",
        baseline=baseline,
        ratio=baseline / value,
        target=target,
        met=value <= target,
        spread=(min(by_round), max(by_round)),
        at_most=True,
    )


def _percentile(values: list[float], percentile: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percentile - 1]


async def _samples(seen: asyncio.Queue[int], send: Send, count: int) -> list[float]:
    took_ms = []
    for _ in range(count):
        await asyncio.sleep(_PAUSE_S)
        began_ns = time.monotonic_ns()
        await send()
        took_ms.append((await asyncio.wait_for(seen.get(), 30) - began_ns) / 1e6)
    return took_ms


async def _append(store: EventStore) -> None:
    (envelope,) = stage.envelopes(1)
    await store.append_now([Append(AggregateRef("case", envelope.subject), 0, [envelope])])


@asynccontextmanager
async def _bare_publisher(url: str) -> AsyncIterator[Send]:
    client = await nats.connect(url)
    raw = stage.envelopes(1)[0].to_bytes()

    async def publish() -> None:
        await client.jetstream().publish(_BARE, raw)

    yield publish
    await client.close()


@asynccontextmanager
async def _other_process(url: str, database_url: str) -> AsyncIterator[asyncio.Queue[int]]:
    """Give a queue of the moments at which the other process saw something."""
    client = await nats.connect(url)
    await client.jetstream().add_stream(StreamConfig(name=_BARE, subjects=[_BARE]))
    await client.close()
    script = Path(__file__).with_name("other_service.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), url, database_url, _BARE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    seen: asyncio.Queue[int] = asyncio.Queue()
    await process.stdout.readline()  # it is ready

    async def read() -> None:
        while line := await process.stdout.readline():
            seen.put_nowait(int(line))

    reading = asyncio.create_task(read())
    try:
        yield seen
    finally:
        process.terminate()
        await process.wait()
        await reading
