"""The relay on three NATS nodes with three replicas, whose leader dies."""

import asyncio
import random

import nats.errors
import pytest
from tests.common.relaying import append_slowly, check_complete
from tests.nats_cluster import NODES, NatsCluster

from spoel_common.messaging import BrokerAway, Relay
from spoel_common.messaging.relay import read_cursor

_LONG_S = 90.0


@pytest.fixture
async def cluster(fast_folder, eventually):
    nodes = NatsCluster(fast_folder / "cluster")
    for node in NODES:
        nodes.start(node)
    await eventually(nodes.healthy, _LONG_S)
    yield nodes
    nodes.stop()


@pytest.mark.invariant("INV-3")
async def test_the_death_of_the_streams_leader_loses_and_repeats_nothing(
    sqlite_shop, cluster, connect, background, eventually
):
    shop = sqlite_shop
    relay = Relay(shop.store, await connect("relay", cluster.settings), replicas=3, batch_events=5)
    background(relay.run())
    watching = await connect("watching", cluster.settings)
    await eventually(lambda: relay.problem is None, _LONG_S)
    moments = random.Random(3)
    for number in range(2):
        appending = background(append_slowly(shop, 60, start=100 * number))
        await asyncio.sleep(moments.uniform(0.05, 0.5))
        leader = await leader_of(watching, shop.name.stream)

        cluster.kill(leader)

        await appending
        await eventually(lambda: is_published(shop), _LONG_S, lambda: relay.problem)
        cluster.start(leader)
        await eventually(cluster.healthy, _LONG_S)

    await eventually(lambda: watching.connected, _LONG_S)
    info = await watching.jetstream.stream_info(shop.name.stream)
    assert info.config.num_replicas == 3
    assert relay.problem is None
    await check_complete(shop, watching)


async def leader_of(broker, stream: str) -> str:
    while True:
        try:
            cluster = (await broker.jetstream.stream_info(stream)).cluster
        except (nats.errors.Error, BrokerAway):
            continue
        if cluster.leader:
            return cluster.leader


async def is_published(shop) -> bool:
    saved = await read_cursor(shop.store)
    return saved is not None and saved.cursor == await shop.store.head()
