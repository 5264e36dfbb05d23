"""From the feeds into the log: holes, repeats, poison, restarts, and the way over a real NATS."""

import asyncio
import itertools
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial

import pytest
from sqlalchemy import text

from spoel_audit.handlers import LogDamaged
from spoel_audit.projections import LOGGED_SERVICES, log_projection
from spoel_audit.queries import count_aside, read_log_by_source
from spoel_audit.verify import recompute_root
from spoel_common.messaging import Consumer, Inbox, Relay
from spoel_common.messaging.pull import Delivery
from spoel_common.store import AggregateRef, Database, EventStore, StoreName, migrate


class Stream:
    """A store's stream, as the inbox sees it."""

    def __init__(self, log, source):
        self._inbox = Inbox(log_projection(log.sequencer), log.database, source, retry_delays_s=())
        self._sequence = itertools.count(1)

    async def deliver(self, arrivals):
        await self._inbox.open("now")
        return await self._inbox.take([self._delivery(arrival) for arrival in arrivals])

    def _delivery(self, arrival):
        number = next(self._sequence)
        return Delivery(number, "spoel.local.x.main.session.y.z", arrival.event_bytes, 0, number, "")


async def logged_ids(log):
    return [row.event_id for row in await log.page()]


async def aside(log):
    async with log.database.read() as conn:
        return await count_aside(conn)


def ids(arrivals):
    return [arrival.envelope.id for arrival in arrivals]


@pytest.mark.requirement("AU-07")
@pytest.mark.invariant("INV-3")
async def test_an_event_behind_a_hole_waits_until_the_hole_is_filled(log, new_feed):
    feed = new_feed("intake")
    first, missing, third, fourth = feed.events(4)
    stream = Stream(log, feed.source)
    await stream.deliver([first, third, fourth])
    assert await logged_ids(log) == ids([first])
    assert await aside(log) == (2, 0)
    await stream.deliver([missing])
    assert await logged_ids(log) == ids([first, missing, third, fourth])
    assert await aside(log) == (0, 0)


@pytest.mark.requirement("AU-07")
@pytest.mark.invariant("INV-3")
async def test_repeats_are_in_the_log_once(log, new_feed):
    feed = new_feed("intake")
    arrivals = feed.events(3)
    stream = Stream(log, feed.source)
    for again in (arrivals, arrivals, arrivals[1:], list(reversed(arrivals))):
        await stream.deliver(again)
    assert await logged_ids(log) == ids(arrivals)


@pytest.mark.requirement("AU-07")
async def test_an_event_with_the_id_of_another_is_parked_and_the_others_go_on(log, new_feed):
    feed, other = new_feed("intake"), new_feed("planning")
    (known,) = feed.events(1)
    await Stream(log, feed.source).deliver([known])
    forged = other.event(id=known.envelope.id)
    behind = other.event()
    elsewhere = other.event(subject="another", aggregateversion=1)
    await Stream(log, other.source).deliver([forged, behind, elsewhere])
    assert await logged_ids(log) == ids([known, elsewhere])
    assert (await aside(log)).parked == 2
    assert (await log.head()).root() == recompute_root(await log.entries())


@pytest.mark.parametrize("damage", ["size = 1", "peaks = (SELECT entry FROM log_entry WHERE sequence = 0)"])
async def test_a_damaged_tree_stops_the_feeds_and_no_event_is_to_blame(log, new_feed, damage):
    feed = new_feed("intake")
    stream = Stream(log, feed.source)
    await stream.deliver(feed.events(2))
    async with log.database.write() as conn:
        await conn.execute(text(f"UPDATE log_tree SET {damage}"))
    with pytest.raises(LogDamaged):
        await stream.deliver(feed.events(1))
    assert await aside(log) == (0, 0)
    assert len(await log.entries()) == 2


@pytest.mark.requirement("AU-01")
@pytest.mark.requirement("AU-07")
@pytest.mark.invariant("INV-3")
async def test_every_event_of_every_store_arrives_once_and_in_order(
    log, new_feed, new_sqlite, connect, site, eventually
):
    """A store of each service over a real NATS; the audit's consumer is stopped in the middle and started again."""
    expected: list[tuple[str, str, int]] = []
    async with AsyncExitStack() as stack:
        stores = []
        for service in LOGGED_SERVICES:
            database = await Database.open(new_sqlite())
            stack.push_async_callback(database.close)
            await migrate(database, "spoel_audit")
            stores.append(EventStore(database, StoreName(site=site, service=service)))
            await start(stack, Relay(stores[-1], await connect(f"{service}-relay")).run())
        broker = await connect("audit-main")
        for round_number in range(2):
            async with AsyncExitStack() as running:
                consumer = Consumer(log_projection(log.sequencer), log.database, broker, site, discover_every_s=0.1)
                await start(running, consumer.run())
                for store in stores:
                    expected += await fill(store, new_feed, aggregates=5, versions=6, first=1 + 6 * round_number)
                await eventually(partial(has_all, log, len(expected)), within_s=15, show=consumer.problems)
    page = await log.page()
    arrived = [(row.source, row.subject, row.version) for row in page]
    assert Counter(arrived) == Counter(expected)
    for aggregate, versions in itertools.groupby(sorted(arrived, key=lambda item: item[:2]), key=lambda item: item[:2]):
        assert [item[2] for item in versions] == list(range(1, 13)), aggregate
    assert [row.sequence for row in page] == list(range(60 * len(LOGGED_SERVICES)))
    async with log.database.read() as conn:
        _, by_source = await read_log_by_source(conn)
        assert by_source == {store.name.source: 60 for store in stores}
    assert (await log.head()).root() == recompute_root(await log.entries())


async def has_all(log, count):
    return (await log.head()).size >= count


async def start(stack, coroutine):
    task = asyncio.create_task(coroutine)

    async def stop():
        task.cancel()
        await asyncio.wait([task], timeout=5)

    stack.push_async_callback(stop)


async def fill(store, new_feed, aggregates, versions, first):
    """Append events to several aggregates of a store, and say what was appended."""
    appended = []
    feed = new_feed(store.name.service)
    for number in range(aggregates):
        ref = AggregateRef("session", f"s{number}")
        wanted = range(first, first + versions)
        envelopes = [
            feed.event(
                subject=ref.id, aggregateversion=version, source=store.name.source, site=store.name.site
            ).envelope
            for version in wanted
        ]
        async with store.database.write() as conn:
            await store.append(conn, ref, first - 1, envelopes)
        appended += [(store.name.source, ref.id, version) for version in wanted]
    return appended
