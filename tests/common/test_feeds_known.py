"""What a consumer knows of its feeds and as of when: silence, a cut link, events aside, a restart (INV-4)."""

import asyncio
from datetime import UTC, datetime

import pytest

from spoel_common.clock import ScaledClock
from spoel_common.messaging import NEVER_S, Relay


@pytest.mark.invariant("INV-4")
async def test_knowledge_is_not_fresh_while_an_event_is_aside(sqlite_shop, publish, new_sums, eventually):
    """A consent that was withdrawn may be the event that could not be applied."""
    shop = sqlite_shop
    sums = await new_sums(retry_delays_s=(1.0,))
    publish(shop)
    await shop.count("a", 1)
    await eventually(lambda: sums.of(shop) and sums.of(shop).as_of is not None)
    sums.fails_on = 13
    await shop.count("a", 13)
    await eventually(lambda: sums.of(shop).held == 1)
    frozen = sums.of(shop).as_of

    await asyncio.sleep(0.3)
    assert (sums.of(shop).as_of, sums.of(shop).age_s > 0.3) == (frozen, True)

    sums.fails_on = None
    await eventually(lambda: sums.of(shop).as_of > frozen)
    assert (await sums.totals(), sums.of(shop).held) == ({("main", "a"): (14, 2)}, 0)


@pytest.mark.invariant("INV-4")
async def test_silence_and_a_cut_link_differ(sqlite_shop, publish, new_sums, eventually):
    shop, clock = sqlite_shop, ScaledClock.starting_now(speed=60)
    sums = await new_sums()
    relaying, marking = publish(shop, clock=clock)
    await shop.count("a", 1)
    await eventually(lambda: sums.of(shop) and sums.of(shop).as_of is not None and sums.of(shop).stream_sequence == 1)

    first = sums.of(shop)
    assert (first.position, first.stream_sequence, first.held, first.stopped) == (1, 1, 0, None)
    await asyncio.sleep(0.3)
    silent = sums.of(shop)
    assert silent.as_of > first.as_of
    assert silent.age_s < 1
    assert abs((silent.as_of - datetime.fromtimestamp(clock.utc_ns() / 1e9, UTC)).total_seconds()) < 60

    marking.cancel()
    await asyncio.sleep(0.05)
    cut = sums.of(shop)
    await asyncio.sleep(0.3)
    assert sums.of(shop).as_of == cut.as_of
    assert sums.of(shop).age_s >= cut.age_s + 0.3
    relaying.cancel()


@pytest.mark.invariant("INV-4")
async def test_a_watermark_waits_until_the_stream_has_what_was_committed(
    sqlite_shop, publish, new_sums, background, broker, eventually
):
    shop = sqlite_shop
    sums = await new_sums()
    relaying, _ = publish(shop)
    await eventually(lambda: sums.of(shop) and sums.of(shop).as_of is not None)
    relaying.cancel()
    await asyncio.sleep(0.1)
    await shop.count("a", 1)
    await asyncio.sleep(0.1)
    before = sums.of(shop).as_of

    await asyncio.sleep(0.3)
    assert sums.of(shop).as_of == before  # marks were due, but the relay stands still

    background(Relay(shop.store, broker).run())
    await eventually(lambda: sums.of(shop).as_of > before)
    assert sums.of(shop).stream_sequence == 1


@pytest.mark.invariant("INV-4")
async def test_a_service_of_which_nothing_was_heard_is_listed_as_never_known(
    sqlite_shop, connect, publish, new_sums, eventually
):
    broker = await connect("planning-main")
    sums = await new_sums(broker=broker, services=("intake", "stimulation"))
    site = sqlite_shop.name.site
    assert [(feed.source, feed.age_s, feed.as_of) for feed in sums.consumer.knowledge()] == [
        (f"/spoel/{site}/intake/*", NEVER_S, None),
        (f"/spoel/{site}/stimulation/*", NEVER_S, None),
    ]
    publish(sqlite_shop)
    await eventually(lambda: sums.of(sqlite_shop) and sums.of(sqlite_shop).age_s < 1)
    assert [feed.source for feed in sums.consumer.knowledge()] == [
        sqlite_shop.name.source,
        f"/spoel/{site}/stimulation/*",
    ]


async def test_a_feed_that_was_known_before_a_restart_is_known_as_old(
    sqlite_shop, own_nats, connect, publish, new_sums, eventually
):
    broker = await connect("planning-main", own_nats.settings)
    sums = await new_sums(broker=broker)
    publish(sqlite_shop, broker)
    await sqlite_shop.count("a", 1)
    await eventually(lambda: sums.committed)
    sums.running.cancel()
    own_nats.stop()

    restarted = await new_sums(sums.database, broker)
    await eventually(lambda: restarted.of(sqlite_shop))

    known = restarted.of(sqlite_shop)
    assert (known.stream_sequence, known.as_of, known.age_s) == (1, None, NEVER_S)
