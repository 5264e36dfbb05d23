"""Consumers end to end: store, relay, a real NATS, inbox, knowledge."""

import asyncio
import random
import time

import asyncpg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.common.shop import Shop
from tests.common.stream_reading import last_sequence
from tests.postgres_server import PostgresServer

from spoel_common.messaging import ensure_stream
from spoel_common.messaging.publish import publish_batch
from spoel_common.store import START, Database, migrations_v1, migrations_v2


@pytest.mark.invariant("INV-3")
async def test_what_is_appended_in_one_service_is_applied_in_another(
    shop, other_database, publish, new_sums, eventually
):
    sums = await new_sums(other_database)
    publish(shop)
    await shop.count("a", 1, 2)
    await shop.count("b", 5)
    await shop.count("a", 4)

    await eventually(lambda: sums.consumer.totals()["applied"] == 4)

    assert await sums.totals() == {("main", "a"): (7, 3), ("main", "b"): (5, 1)}
    assert sums.committed == [event.id for event in await shop.store.read_after(START, 10)]
    assert sums.consumer.problems() == []
    assert await sums.consumer.counts() == {"gap": 0, "retry": 0, "behind": 0, "parked": 0}
    await eventually(lambda: sums.consumer.lag() == {shop.name.source: 0})


@pytest.mark.invariant("INV-3")
async def test_an_event_arrives_soon_after_it_was_appended(sqlite_shop, publish, new_sums, eventually):
    sums = await new_sums()
    publish(sqlite_shop)
    await sqlite_shop.count("a", 1)
    await eventually(lambda: len(sums.committed) == 1)

    took_s = []
    for number in range(2, 6):
        started_s = time.monotonic()
        await sqlite_shop.count("a", 1)
        await eventually(lambda wanted=number: len(sums.committed) == wanted)
        took_s.append(time.monotonic() - started_s)

    assert min(took_s) < 0.3


@pytest.mark.invariant("INV-3")
async def test_a_consumer_that_dies_between_commit_and_acknowledgement_applies_nothing_twice(
    shop, other_database, connect, publish, new_sums, eventually
):
    publish(shop)
    planning = await connect("planning-main")
    for _ in range(3):
        sums = await new_sums(other_database, planning)
        sums.dies_after_commit = True
        await shop.count("a", 1, 1, 1)
        await eventually(sums.running.done)
        assert sums.committed
    sums = await new_sums(other_database, planning)
    await shop.count("a", 1)

    async def all_there() -> bool:
        return (await sums.totals())["main", "a"][1] >= 10

    await eventually(all_there)
    await asyncio.sleep(0.1)
    assert await sums.totals() == {("main", "a"): (10, 10)}


@pytest.mark.invariant("INV-3")
async def test_a_consumer_that_is_stopped_at_any_moment_ends_and_its_successor_goes_on(
    shop, other_database, connect, publish, new_sums, eventually
):
    publish(shop)
    planning, moments = await connect("planning-main"), random.Random(5)
    for _ in range(10):
        sums = await new_sums(other_database, planning)
        await shop.count("a", 1, 1, 1)
        await asyncio.sleep(moments.uniform(0, 0.08))
        sums.running.cancel()
        await asyncio.wait({sums.running}, timeout=5)
        assert sums.running.cancelled()
    sums = await new_sums(other_database, planning)

    async def all_there() -> bool:
        return await sums.totals() == {("main", "a"): (30, 30)}

    await eventually(all_there)


@pytest.mark.invariant("INV-3")
async def test_messages_on_their_way_to_a_process_that_died_are_read_first(
    sqlite_shop, connect, publish, new_sums, eventually
):
    """The server would give them again only after the time for the acknowledgement, behind newer ones."""
    shop, planning = sqlite_shop, await connect("planning-main")
    publish(shop)
    await shop.count("a", *range(1, 21))
    await eventually(lambda: caught_up(planning, shop))
    sums = await new_sums(broker=planning)
    await eventually(lambda: len(sums.committed) == 20)
    sums.running.cancel()
    await asyncio.wait({sums.running})
    await shop.count("a", *range(21, 31))
    await eventually(lambda: caught_up(planning, shop))
    jetstream = planning.jetstream
    taker = await jetstream.pull_subscribe_bind(durable="planning-main--sums--v1", stream=shop.name.stream)
    taken = await taker.fetch(4, timeout=5)  # and never acknowledged
    assert [message.metadata.sequence.stream for message in taken] == [21, 22, 23, 24]

    successor = await new_sums(sums.database, planning)
    await eventually(lambda: len(successor.committed) == 10, 5)

    assert await sums.totals() == {("main", "a"): (sum(range(31)), 30)}
    assert successor.consumer.totals()["gaps"] == 0


async def caught_up(broker, shop: Shop) -> bool:
    return await last_sequence(broker, shop.name) >= await shop.store.count()


async def test_a_durable_consumer_that_was_deleted_is_made_again(sqlite_shop, connect, publish, new_sums, eventually):
    shop, planning = sqlite_shop, await connect("planning-main")
    sums = await new_sums(broker=planning)
    publish(shop)
    await shop.count("a", 1)
    await eventually(lambda: len(sums.committed) == 1)

    await planning.jetstream.delete_consumer(shop.name.stream, "planning-main--sums--v1")
    await shop.count("a", 1)

    await eventually(lambda: len(sums.committed) == 2)
    assert await sums.totals() == {("main", "a"): (2, 2)}


@pytest.mark.invariant("INV-3")
async def test_a_restart_of_nats_loses_and_repeats_nothing_and_knowledge_grows_old_meanwhile(
    sqlite_shop, own_nats, connect, publish, new_sums, eventually
):
    shop = sqlite_shop
    intake, planning = (
        await connect("intake-main", own_nats.settings),
        await connect("planning-main", own_nats.settings),
    )
    sums = await new_sums(broker=planning)
    publish(shop, intake)
    await shop.count("a", 1)
    await eventually(lambda: sums.of(shop) and sums.of(shop).age_s < 1)

    own_nats.kill()
    await shop.count("a", 2)
    await asyncio.sleep(1.0)
    assert sums.of(shop).age_s > 0.9
    own_nats.start()
    await shop.count("a", 4)

    await eventually(lambda: len(sums.committed) == 3, 15)
    assert await sums.totals() == {("main", "a"): (7, 3)}
    await eventually(lambda: sums.of(shop).age_s < 1)


@pytest.fixture
def own_postgres():
    server = PostgresServer(may_crash=True)
    server.start()
    yield server
    server.stop()


@pytest.mark.invariant("INV-3")
async def test_a_crash_of_postgresql_loses_and_repeats_nothing(
    own_postgres, open_database, new_shop, publish, new_sums, eventually
):
    await make_databases(own_postgres, "one", "other")
    shop = new_shop(await open_database(own_postgres.url("one")), store="main")
    sums = await new_sums(await open_database(own_postgres.url("other")))
    publish(shop)
    await shop.count("a", 1)
    await eventually(lambda: len(sums.committed) == 1)

    own_postgres.crash_and_restart()

    async def appended() -> bool:
        try:
            return bool(await shop.count("a", 2))
        except (DBAPIError, OSError):
            return False

    await eventually(appended)
    await eventually(lambda: len(sums.committed) == 2, 15)
    await shop.count("a", 4)
    await eventually(lambda: len(sums.committed) == 3)
    assert await sums.totals() == {("main", "a"): (7, 3)}


def make_tables(connection) -> None:
    operations = Operations(MigrationContext.configure(connection))
    migrations_v1.upgrade(operations)
    migrations_v2.upgrade(operations)


async def make_databases(server: PostgresServer, *names: str) -> None:
    conn = await asyncpg.connect(server.url("postgres"), timeout=10)
    for name in names:
        await conn.execute(f"CREATE DATABASE {name}")
    await conn.close()
    for name in names:
        database = await Database.open(server.url(name))
        async with database.write() as conn:
            await conn.run_sync(make_tables)
        await database.close()


async def test_every_store_of_a_service_is_a_feed_also_one_that_comes_later(
    sqlite_shop, new_shop, open_database, new_sqlite, publish, new_sums, eventually
):
    sums = await new_sums()
    publish(sqlite_shop)
    stranger = new_shop(await open_database(new_sqlite()), service="stimulation", store="main")
    publish(stranger)
    await sqlite_shop.count("a", 1)
    await stranger.count("a", 100)
    await eventually(lambda: len(sums.committed) == 1)

    later = new_shop(await open_database(new_sqlite()), store="node-2")
    publish(later)
    await later.count("a", 2)

    await eventually(lambda: len(sums.committed) == 2)
    assert await sums.totals() == {("main", "a"): (1, 1), ("node-2", "a"): (2, 1)}
    assert [feed.source for feed in sums.consumer.knowledge()] == [sqlite_shop.name.source, later.name.source]


async def test_a_store_that_is_left_out_is_no_feed_and_nobody_waits_for_it(
    sqlite_shop, new_shop, open_database, new_sqlite, publish, new_sums, eventually
):
    sums = await new_sums(left_out=sqlite_shop.name.source)
    assert sums.consumer.knowledge() == []  # there may be no other store of that service
    publish(sqlite_shop)
    await sqlite_shop.count("a", 1)
    other = new_shop(await open_database(new_sqlite()), store="node-2")
    publish(other)
    await other.count("a", 2)
    await eventually(lambda: sums.of(other) and sums.of(other).stream_sequence == 1 and sums.of(other).as_of)
    assert await sums.totals() == {("node-2", "a"): (2, 1)}
    assert [feed.source for feed in sums.consumer.knowledge()] == [other.name.source]


@pytest.mark.invariant("INV-3")
async def test_a_poison_event_is_parked_and_the_feed_goes_on(shop, other_database, publish, new_sums, eventually):
    sums = await new_sums(other_database)
    sums.fails_on = 13
    publish(shop)
    await shop.count("a", 1, 13, 3)
    await shop.count("b", 5)

    await eventually(lambda: sums.consumer.totals()["parked"] == 1)

    assert await sums.totals() == {("main", "a"): (1, 1), ("main", "b"): (5, 1)}
    assert (await sums.consumer.counts())["parked"] == 2


async def test_a_newer_version_of_an_event_stops_its_feed_and_says_so(
    sqlite_shop, new_shop, open_database, new_sqlite, publish, new_sums, eventually
):
    shop = sqlite_shop
    sums = await new_sums()
    other = new_shop(await open_database(new_sqlite()), store="node-2")
    publish(shop)
    publish(other)
    await shop.count("a", 1)
    await shop.append("a", 1, shop.envelope("a", 2, type="spoel.intake.counted.v2"))
    await eventually(sums.consumer.problems)

    assert "counted.v2 is newer than v1" in sums.consumer.problems()[0]
    assert "counted.v2 is newer than v1" in str(sums.of(shop).stopped)
    await other.count("a", 3)
    await eventually(lambda: len(sums.committed) == 2)
    assert (await sums.totals(), await sums.consumer.counts()) == (
        {("main", "a"): (1, 1), ("node-2", "a"): (3, 1)},
        {"gap": 0, "retry": 0, "behind": 0, "parked": 0},
    )
    stopped_at = sums.of(shop).as_of
    await asyncio.sleep(0.2)
    assert sums.of(shop).as_of == stopped_at


async def test_of_two_processes_one_leads_and_the_other_follows_and_takes_over(
    shop, other_database, connect, publish, new_sums, eventually
):
    planning = await connect("planning-main")
    leader = await new_sums(other_database, planning)
    publish(shop)
    await shop.count("a", 1)
    await eventually(lambda: len(leader.committed) == 1)
    follower = await new_sums(other_database, planning)
    await shop.count("a", 2)
    await eventually(lambda: follower.of(shop) and follower.of(shop).stream_sequence == 2)
    await eventually(lambda: follower.of(shop).age_s < 1)
    assert follower.committed == []

    leader.running.cancel()
    await shop.count("a", 4)
    await eventually(lambda: len(follower.committed) == 1)

    assert await leader.totals() == {("main", "a"): (7, 3)}


async def test_who_no_longer_leads_has_no_trouble_with_the_feeds(
    sqlite_shop, new_postgres, open_database, connect, publish, new_sums, eventually
):
    database, brokers = await open_database(new_postgres()), [await connect("planning-main") for _ in range(2)]
    leader = await new_sums(database, brokers[0])
    publish(sqlite_shop)
    await sqlite_shop.count("a", 1)
    await eventually(lambda: leader.committed)
    follower = await new_sums(database, brokers[1])
    await brokers[0].close()
    await eventually(leader.consumer.problems)
    await sqlite_shop.count("a", 2)

    while not follower.committed:
        async with database.read() as conn:
            await conn.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
        await asyncio.sleep(0.7)

    await eventually(lambda: leader.consumer.problems() == [])


@pytest.mark.invariant("INV-3")
async def test_a_hole_in_the_stream_itself_is_reported_and_the_aggregate_is_held(
    sqlite_shop, new_sums, broker, eventually
):
    """Deletion is denied, so the stream is made anew from a later sequence, as after damage to the server's files."""
    shop = sqlite_shop
    await shop.count("a", 1, 2, 3)
    await ensure_stream(broker, shop.name, 1)
    stored = await shop.store.read_after(START, 10)
    config = (await broker.jetstream.stream_info(shop.name.stream)).config
    await broker.jetstream.delete_stream(shop.name.stream)
    await broker.jetstream.add_stream(config.evolve(first_seq=3))
    await publish_batch(broker, shop.name, stored[2:], 0)
    sums = await new_sums()

    await eventually(lambda: sums.consumer.totals()["holes"] == 1)

    await eventually(lambda: sums.consumer.totals()["gaps"] == 1)
    assert await sums.totals() == {}
    assert await sums.consumer.counts() == {"gap": 1, "retry": 0, "behind": 0, "parked": 0}


@pytest.mark.invariant("INV-3")
async def test_a_stream_that_was_lost_and_filled_again_is_read_from_its_start_and_nothing_is_applied_twice(
    sqlite_shop, broker, publish, new_sums, eventually
):
    shop, sums = sqlite_shop, await new_sums()
    relaying, _ = publish(shop)
    await shop.count("a", 1, 2)
    await eventually(lambda: len(sums.committed) == 2)
    relaying.cancel()
    await asyncio.wait({relaying})
    await broker.jetstream.delete_stream(shop.name.stream)

    await shop.count("a", 4)
    publish(shop)

    await eventually(lambda: len(sums.committed) == 3)
    assert await sums.totals() == {("main", "a"): (7, 3)}
    assert sums.consumer.totals()["dropped"] == 2
    await eventually(lambda: sums.of(shop).age_s < 1 and sums.of(shop).stream_sequence == 3)


async def test_a_failure_after_the_commit_changes_nothing(sqlite_shop, publish, new_sums, eventually):
    sums = await new_sums()

    async def fail(_envelopes) -> None:
        raise RuntimeError("nobody listens")

    object.__setattr__(sums.projection, "after_commit", fail)
    publish(sqlite_shop)
    await sqlite_shop.count("a", 1)
    await eventually(lambda: sums.consumer.totals()["applied"] == 1)
    await sqlite_shop.count("a", 2)
    await eventually(lambda: sums.consumer.totals()["applied"] == 2)
    assert await sums.totals() == {("main", "a"): (3, 2)}
