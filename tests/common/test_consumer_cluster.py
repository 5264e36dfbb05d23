"""A consumer on three replicated NATS nodes, of which the one that leads dies; nothing is lost, nothing twice."""

import asyncio

import nats.errors
import pytest
from nats.js.errors import APIError
from tests.nats_cluster import NODES, NatsCluster

from spoel_common.messaging import Relay

pytestmark = pytest.mark.invariant("INV-3")

LONG_S = 60.0
CONSUMER = "planning-main--sums--v1"


@pytest.fixture
async def cluster(fast_folder, tmp_path, eventually):
    nodes = NatsCluster(fast_folder / tmp_path.name)
    for node in NODES:
        nodes.start(node)
    await eventually(nodes.healthy, LONG_S)
    yield nodes
    nodes.stop()


async def leader_of(what, broker) -> str | None:
    """Return the node that leads the stream or the consumer that ``what`` asks for, if one does."""
    try:
        found = (await what(broker.jetstream)).cluster
    except (nats.errors.Error, APIError, TimeoutError):
        return None
    return None if found is None else found.leader


async def test_the_death_of_the_leading_node_loses_and_repeats_nothing(
    sqlite_shop, cluster, connect, background, new_sums, eventually
):
    shop = sqlite_shop
    stream = shop.name.stream
    intake = await connect("intake-main", cluster.settings)
    planning = await connect("planning-main", cluster.settings)
    background(Relay(shop.store, intake, replicas=3).run())
    sums = await new_sums(broker=planning)
    appended = await shop.count("a", 1)
    await eventually(lambda: len(sums.committed) == appended, LONG_S)

    for what in (
        lambda jetstream: jetstream.stream_info(stream),
        lambda jetstream: jetstream.consumer_info(stream, CONSUMER),
    ):
        leader = None
        while leader is None:
            leader = await leader_of(what, planning)
        cluster.kill(leader)
        for _ in range(5):
            appended = await shop.count("a", 1)
            await asyncio.sleep(0.05)
        await eventually(lambda wanted=appended: len(sums.committed) == wanted, LONG_S, sums.consumer.problems)
        cluster.start(leader)
        await eventually(cluster.healthy, LONG_S)

    assert await sums.totals() == {("main", "a"): (appended, appended)}
    assert (sums.consumer.totals()["gaps"], sums.consumer.totals()["holes"]) == (0, 0)
    assert sums.consumer.problems() == []


async def test_a_consumer_that_is_deleted_while_its_node_dies_is_made_again(
    sqlite_shop, cluster, connect, background, new_sums, eventually
):
    shop = sqlite_shop
    stream = shop.name.stream
    intake = await connect("intake-main", cluster.settings)
    planning = await connect("planning-main", cluster.settings)
    background(Relay(shop.store, intake, replicas=3).run())
    sums = await new_sums(broker=planning)
    await shop.count("a", 1)
    await eventually(lambda: len(sums.committed) == 1, LONG_S)
    leader = await leader_of(lambda jetstream: jetstream.consumer_info(stream, CONSUMER), planning)

    await intake.jetstream.delete_consumer(stream, CONSUMER)
    cluster.kill(leader)
    await shop.count("a", 2)

    await eventually(lambda: len(sums.committed) == 2, LONG_S, sums.consumer.problems)
    cluster.start(leader)
    await shop.count("a", 3)
    await eventually(lambda: len(sums.committed) == 3, LONG_S, sums.consumer.problems)
    assert await sums.totals() == {("main", "a"): (6, 3)}
