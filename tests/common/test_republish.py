"""Publishing of old events once more: asked for, or because the stream lost them."""

import asyncio
import random
import shutil

import pytest
from tests.common.relaying import append_many, check_complete, push_all, reached, stored
from tests.common.stream_reading import last_sequence, read_stream

from spoel_common.messaging import NotPublishing, Relay, WatermarkPublisher, relay
from spoel_common.messaging.publish import Republication, publish_batch
from spoel_common.messaging.relay import read_cursor
from spoel_common.store import START, Cursor

pytestmark = pytest.mark.invariant("INV-3")


@pytest.fixture
async def running(shop, broker, background, eventually) -> Relay:
    relay = Relay(shop.store, broker, batch_events=5)
    background(relay.run())
    await eventually(lambda: relay.problem is None)
    return relay


async def in_stream(shop, broker) -> list[tuple[str, bytes]]:
    return [(message.event_id.partition(":")[0], message.raw) for message in await read_stream(broker, shop.name)]


async def test_events_are_published_again_as_they_were_stored_and_then_the_new_ones(shop, broker, running, eventually):
    await append_many(shop, 20)
    await eventually(lambda: reached(broker, shop, 20))

    running.republish_from(8)
    await eventually(lambda: reached(broker, shop, 33))
    running.republish_from(19)
    await eventually(lambda: reached(broker, shop, 35))
    await append_many(shop, 3, start=20)
    await eventually(lambda: reached(broker, shop, 38))

    everything = await stored(shop)
    assert await in_stream(shop, broker) == [*everything[:20], *everything[7:20], *everything[18:20], *everything[20:]]
    messages = await read_stream(broker, shop.name)
    assert [message.event_id for message in messages[-3:]] == [event_id for event_id, _ in everything[20:]]
    assert len({message.event_id for message in messages}) == 38  # no id comes twice: the server would refuse it
    mark = await WatermarkPublisher(shop.store, broker).publish()
    assert (mark.cursor, mark.stream_sequence) == (await shop.store.head(), 38)


async def test_positions_that_are_not_published_yet_are_not_published_out_of_turn(shop, broker, running, eventually):
    await append_many(shop, 5)
    await eventually(lambda: reached(broker, shop, 5))
    running.republish_from(6)
    await append_many(shop, 5, start=5)
    await eventually(lambda: reached(broker, shop, 10))
    await check_complete(shop, broker)


async def test_a_request_for_older_events_during_another_goes_further_back(shop, broker):
    await append_many(shop, 30)
    relay = Relay(shop.store, broker, batch_events=5)
    await relay.resume()
    await push_all(relay)
    relay.problem = None
    for position in (20, 12):
        relay.republish_from(position)
        await relay._republish(position)
    await push_all(relay)

    everything = await stored(shop)
    assert await in_stream(shop, broker) == [*everything, *everything[19:24], *everything[11:]]


async def test_a_republishing_that_is_stopped_at_any_moment_goes_on_where_it_was(shop, broker, background, eventually):
    await append_many(shop, 60)
    first = Relay(shop.store, broker)
    await first.resume()
    await push_all(first)
    moments = random.Random(2)
    expected = await stored(shop)
    for number in range(8):
        relay = Relay(shop.store, broker, batch_events=3)
        running = background(relay.run())
        await eventually(lambda relay=relay: relay.problem is None)
        before = await last_sequence(broker, shop.name)
        relay.republish_from(11)
        await eventually(lambda goal=before + 3: reached(broker, shop, goal))
        await asyncio.sleep(moments.uniform(0, 0.02))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await append_many(shop, 2, start=100 * (number + 1))

        successor = Relay(shop.store, broker)
        await successor.resume()
        await push_all(successor)

        everything = await stored(shop)
        expected += everything[10:]
        assert await in_stream(shop, broker) == expected


async def test_consumers_drop_what_they_had_and_take_what_they_had_lost(shop, broker, new_sums, running, eventually):
    await append_many(shop, 6)
    await eventually(lambda: reached(broker, shop, 6))
    sums = await new_sums()
    await eventually(lambda: sums.consumer.totals()["applied"] == 6)
    await append_many(shop, 4, start=10)
    new = (await shop.store.read_after(START, 20))[6:]
    await eventually(lambda: reached(broker, shop, 10))
    await eventually(lambda: sums.consumer.totals()["applied"] == 10)
    assert len(new) == 4

    running.republish_from(1)

    await eventually(lambda: sums.consumer.totals()["dropped"] == 10)
    assert sums.consumer.totals()["alarms"] == 0
    assert await sums.totals() == {("main", "a0"): (21, 6), ("main", "a10"): (50, 4)}


async def test_a_gap_in_the_stream_is_filled(shop, broker, new_sums, background, eventually):
    await append_many(shop, 6)
    events = await shop.store.read_after(START, 10)
    first = Relay(shop.store, broker)
    await first.resume()
    await publish_batch(broker, shop.name, [*events[:2], *events[4:]], 0)
    sums = await new_sums()
    await eventually(lambda: sums.of(shop) and sums.of(shop).held == 2)

    relay = Relay(shop.store, broker)
    background(relay.run())
    await eventually(lambda: relay.problem is None)
    relay.republish_from(events[2].position)

    await eventually(lambda: sums.of(shop).held == 0)
    assert await sums.totals() == {("main", "a0"): (21, 6)}


async def test_a_relay_that_does_not_publish_refuses(sqlite_shop, broker):
    with pytest.raises(NotPublishing, match="not started"):
        Relay(sqlite_shop.store, broker).republish_from(1)


async def test_a_stream_that_is_lost_while_nothing_happens_is_filled_again(
    shop, broker, running, eventually, monkeypatch
):
    monkeypatch.setattr(relay, "_LOOK_EVERY_S", 0.1)
    await append_many(shop, 12)
    await eventually(lambda: reached(broker, shop, 12))

    await broker.jetstream.delete_stream(shop.name.stream)

    await eventually(lambda: reached(broker, shop, 12))
    await check_complete(shop, broker)
    await eventually(lambda: saved_is_head(shop))


async def test_a_stream_restored_from_an_older_backup_is_completed(
    sqlite_shop, own_nats, connect, background, eventually, caught_up, tmp_path
):
    shop, broker = sqlite_shop, await connect("relay", own_nats.settings)
    background(Relay(shop.store, broker).run())
    await append_many(shop, 10)
    await caught_up(shop, broker)
    await stop(own_nats, broker, eventually)
    files, backup = tmp_path / "nats" / "jetstream", tmp_path / "backup"
    shutil.copytree(files, backup)
    own_nats.start()
    await eventually(lambda: broker.connected)
    await append_many(shop, 10, start=10)
    await caught_up(shop, broker)

    await stop(own_nats, broker, eventually)
    shutil.rmtree(files)
    shutil.copytree(backup, files)
    own_nats.start()
    await eventually(lambda: broker.connected)

    assert await last_sequence(broker, shop.name) >= 10
    await append_many(shop, 1, start=20)
    await caught_up(shop, broker)
    await check_complete(shop, broker)


async def stop(own_nats, broker, eventually) -> None:
    own_nats.stop()
    await eventually(lambda: not broker.connected)


async def saved_is_head(shop) -> bool:
    saved = await read_cursor(shop.store)
    return saved is not None and saved.cursor == await shop.store.head()


def test_a_message_id_tells_the_event_and_the_republication():
    again = Republication(7, Cursor(5, 9))
    assert Republication.split(f"an-id{again}") == ("an-id", again)
    assert Republication.split("an-id") == ("an-id", None)
    assert Republication.split("an%20id") == ("an id", None)
