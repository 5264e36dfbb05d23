"""Three NATS nodes with three copies of a stream: the leader is killed, and cut off, while events flow."""

import asyncio
import itertools
import random
import signal

import pytest
from tests.chaos.cluster import NODES, Cluster
from tests.common.stream_reading import read_stream

from spoel_common.messaging import NatsSettings, Relay
from spoel_common.store import START
from spoel_local.processes import Supervisor

WITHIN_S = 60.0
AGGREGATES = "abcd"


@pytest.fixture
def cluster(tmp_path):
    cluster, nodes = Cluster(tmp_path / "nats"), Supervisor(tmp_path / "logs")
    cluster.links.start()
    for program in cluster.programs():
        nodes.start(program)
    nodes.wait_ready(WITHIN_S)
    cluster.nodes = nodes
    yield cluster
    nodes.stop_all()
    cluster.close()


async def leader(cluster, stream, besides: str | None = None) -> str | None:
    found = await asyncio.to_thread(cluster.leader_of, stream, [node for node in NODES if node != besides])
    return None if found == besides else found


@pytest.mark.timeout(400)
@pytest.mark.invariant("INV-3")
@pytest.mark.parametrize("seed", [1])
async def test_events_flow_on_in_order_and_once_when_the_leader_is_killed_and_when_it_is_cut_off(
    seed, cluster, sqlite_shop, connect, new_sums, background, eventually
):
    chance, stream = random.Random(seed), sqlite_shop.name.stream
    broker = await connect("intake-main", NatsSettings(servers=cluster.urls))
    sums = await new_sums(broker=await connect("planning-main", NatsSettings(servers=cluster.urls)))
    background(Relay(sqlite_shop.store, broker, replicas=3).run())
    told: dict[str, int] = dict.fromkeys(AGGREGATES, 0)
    enough = asyncio.Event()

    async def write() -> None:
        for number in itertools.count(1):
            if enough.is_set():  # never cancelled between a commit and its entry in ``told``
                return
            aggregate = chance.choice(AGGREGATES)
            await sqlite_shop.count(aggregate, number)
            told[aggregate] += number
            await asyncio.sleep(0.01)

    async def more_come() -> None:
        before = len(sums.committed)
        await eventually(lambda: len(sums.committed) > before + 20, WITHIN_S)

    writing = background(write())
    await more_come()
    killed = await leader(cluster, stream)
    cluster.nodes[killed].signal(signal.SIGKILL)
    await more_come()
    cluster.nodes.start(cluster.nodes[killed].program)
    await eventually(lambda: cluster.nodes[killed].program.waiting_for(cluster.nodes[killed]) is None, WITHIN_S)

    for how in ("silent", "reset"):
        cut = await leader(cluster, stream)
        cluster.links.cut(cut, how)
        await eventually(lambda cut=cut: leader(cluster, stream, besides=cut), WITHIN_S)
        cluster.links.mend(cut)
        await more_come()

    enough.set()
    await writing
    stored = await sqlite_shop.store.read_after(START, 100_000)
    await eventually(lambda: len(sums.committed) == len(stored), WITHIN_S)
    assert [message.raw for message in await read_stream(broker, sqlite_shop.name)] == [event.raw for event in stored]
    assert {name: total for (_, name), (total, _) in (await sums.totals()).items()} == told
    assert sum(events for _, events in (await sums.totals()).values()) == len(stored)
