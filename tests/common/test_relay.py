"""The relay: everything once, in order, whatever dies or stalls at whatever moment. Real NATS, both databases."""

import asyncio
import contextlib
import random
import time

import pytest
from sqlalchemy import delete, text, update
from tests.common.relaying import append_many, append_slowly, check_complete, push_all, reached
from tests.common.stream_reading import last_sequence, read_stream

from spoel_common.messaging import Relay, StreamAhead, ensure_stream
from spoel_common.messaging import relay as module
from spoel_common.messaging.publish import NotPublished, publish_batch
from spoel_common.messaging.relay import CursorTaken, read_cursor
from spoel_common.messaging.streams import last_message
from spoel_common.store import START, Cursor, EventStore, LeadershipLost
from spoel_common.store.schema import relay_cursor

pytestmark = pytest.mark.invariant("INV-3")


async def test_events_are_published_as_they_were_stored(shop, broker):
    await shop.append("a", 0, shop.envelope("a", 1), shop.envelope("a", 2))
    await shop.append("room.1 >*", 0, shop.envelope("room.1 >*", 1))
    relay = Relay(shop.store, broker)
    await relay.resume()
    await push_all(relay)

    messages = await read_stream(broker, shop.name)

    await check_complete(shop, broker)
    root = f"spoel.{shop.name.site}.intake.main.counter"
    assert [message.subject for message in messages] == [
        f"{root}.a.counted",
        f"{root}.a.counted",
        f"{root}.room%2E1%20%3E%2A.counted",
    ]
    cursors = [event.cursor for event in await shop.store.read_after(START, 10)]
    assert [
        Cursor(int(message.headers["Spoel-Xid"]), int(message.headers["Spoel-Position"])) for message in messages
    ] == cursors
    assert await read_cursor(shop.store) == (cursors[-1], 3)


async def test_a_running_relay_publishes_an_append_at_once(shop, broker, background, eventually):
    relay = Relay(shop.store, broker)
    background(relay.run())
    await eventually(lambda: relay.problem is None)
    took_s = []
    for number in range(1, 5):
        started_s = time.monotonic()
        await shop.count("a", 1)
        await eventually(lambda wanted=number: relay.cursor.position == wanted)
        took_s.append(time.monotonic() - started_s)
    assert min(took_s) < 0.2  # much sooner than the relay looks by itself


async def test_an_append_in_a_process_that_does_not_lead_is_published_at_once_too(
    postgres_shop, open_database, broker, background, eventually, monkeypatch
):
    monkeypatch.setattr(module, "_POLL_S", 3600.0)  # so nothing but the signal wakes the leader
    shop = postgres_shop
    leading, waiting = Relay(EventStore(shop.database, shop.name), broker), Relay(shop.store, broker)
    background(leading.run())
    await eventually(lambda: leading.problem is None)
    background(waiting.run())
    for number in range(1, 4):
        await append_many(shop, 1, start=number)
        await eventually(lambda wanted=number: reached(broker, shop, wanted))
    assert waiting.problem == "not started"


async def test_a_relay_with_nothing_to_do_hardly_reads(sqlite_shop, broker, background, eventually):
    reads = []

    class CountedStore(EventStore):
        async def read_after(self, cursor, limit):
            reads.append(cursor)
            return await super().read_after(cursor, limit)

    shop = sqlite_shop
    shop.store = CountedStore(shop.database, shop.name)
    background(Relay(shop.store, broker).run())
    await append_many(shop, 1)
    await eventually(lambda: reached(broker, shop, 1))
    before = len(reads)
    await asyncio.sleep(0.7)
    assert len(reads) - before <= 3


async def test_many_and_large_events_go_in_batches(shop, broker):
    await append_many(shop, 600)
    for number in range(30):
        await shop.append(f"large{number}", 0, shop.envelope(f"large{number}", 1, correlationid="c" * 50_000))
    relay = Relay(shop.store, broker, batch_events=250)
    await relay.resume()

    sizes = []
    while pushed := await relay.push():
        sizes.append(pushed)

    assert sizes[:2] == [250, 250]
    assert 1 < max(sizes[3:]) < 30
    await check_complete(shop, broker)


async def test_a_crash_between_publishing_and_the_cursor_publishes_nothing_twice(shop, broker):
    await append_many(shop, 10)
    crashed = Relay(shop.store, broker)
    await crashed.resume()
    await publish_batch(broker, shop.name, (await shop.store.read_after(START, 10))[:6], 0)
    assert await read_cursor(shop.store) == (START, 0)

    successor = Relay(shop.store, broker)
    await successor.resume()
    assert await successor.push() == 4

    await check_complete(shop, broker)


@pytest.mark.parametrize("wrong", ["missing", "behind", "ahead"])
async def test_a_wrong_cursor_row_is_corrected_by_the_stream(shop, broker, wrong):
    await append_many(shop, 5)
    relay = Relay(shop.store, broker)
    await relay.resume()
    await push_all(relay)
    await append_many(shop, 5, start=5)
    head = await shop.store.head()
    statements = {
        "missing": delete(relay_cursor),
        "behind": update(relay_cursor).values(xid=0, position=1, stream_sequence=1),
        "ahead": update(relay_cursor).values(xid=head.xid, position=head.position, stream_sequence=10),
    }
    async with shop.database.write() as conn:
        await conn.execute(statements[wrong])

    successor = Relay(shop.store, broker)
    await successor.resume()
    await push_all(successor)

    await check_complete(shop, broker)


async def test_a_stalled_leader_cannot_publish_behind_its_successor(shop, broker):
    await append_many(shop, 2)
    stalled, successor = Relay(shop.store, broker), Relay(shop.store, broker)
    await stalled.resume()
    await push_all(stalled)
    await append_many(shop, 3, start=2)
    await successor.resume()
    await push_all(successor)

    with pytest.raises(NotPublished, match=r"10071|10201"):
        await stalled.push()
    await check_complete(shop, broker)

    await append_many(shop, 1, start=5)
    await stalled.resume()
    await push_all(stalled)
    await check_complete(shop, broker)


async def test_a_stalled_leader_does_not_put_the_cursor_row_back(shop, broker):
    await append_many(shop, 6)
    stalled, successor = Relay(shop.store, broker, batch_events=2), Relay(shop.store, broker)
    await stalled.resume()
    await stalled.push()  # and does not save yet: there is more to publish
    await successor.resume()
    await push_all(successor)

    with pytest.raises(CursorTaken):
        await stalled.save()
    assert await read_cursor(shop.store) == (await shop.store.head(), 6)


@pytest.mark.parametrize("size", [1, 4])
async def test_a_stalled_leader_is_fenced_after_the_window_for_duplicates_too(shop, broker, size):
    """The server forgets ids after two minutes; then only the expected sequence stands in the way of a second copy.

    A single event goes without a batch.
    """
    await append_many(shop, 4)
    relay = Relay(shop.store, broker)
    await relay.resume()
    batch = await shop.store.read_after(START, 10)
    await push_all(relay)
    renamed = [event._replace(id=f"forgotten-{event.id}") for event in batch]

    with pytest.raises(NotPublished, match="10071"):
        await publish_batch(broker, shop.name, renamed[:size], 0)
    assert await last_sequence(broker, shop.name) == 4


async def test_an_id_that_the_stream_has_already_refuses_the_whole_batch(shop, broker):
    await append_many(shop, 3)
    batch = await shop.store.read_after(START, 10)
    await ensure_stream(broker, shop.name, 1)
    sequence = await publish_batch(broker, shop.name, batch[:1], 0)

    with pytest.raises(NotPublished):
        await publish_batch(broker, shop.name, batch, sequence)
    with pytest.raises(NotPublished, match="has it already"):
        await publish_batch(broker, shop.name, batch[:1], sequence)
    assert await last_sequence(broker, shop.name) == 1


async def test_a_stream_that_knows_more_than_the_store_stops_the_relay(shop, new_shop, other_database, broker):
    """The database was restored from an older copy, or it is another one: publishing would fork history."""
    await append_many(shop, 3)
    relay = Relay(shop.store, broker)
    await relay.resume()
    await push_all(relay)
    restored = new_shop(other_database, store="main")
    await append_many(restored, 1, start=7)

    with pytest.raises(StreamAhead, match="does not have"):
        await Relay(restored.store, broker).resume()
    assert await last_sequence(broker, shop.name) == 3


async def test_a_stream_that_was_lost_is_filled_again_from_the_store(shop, broker):
    await append_many(shop, 3)
    relay = Relay(shop.store, broker)
    await relay.resume()
    await push_all(relay)
    await broker.jetstream.delete_stream(shop.name.stream)

    await relay.resume()
    await push_all(relay)

    await check_complete(shop, broker)


async def test_two_relays_of_a_store_have_one_leader_and_the_other_takes_over(
    shop, broker, background, eventually, caught_up
):
    second_store = EventStore(shop.database, shop.name)
    first, second = Relay(shop.store, broker), Relay(second_store, broker)
    leading = background(first.run())
    await eventually(lambda: first.problem is None)
    background(second.run())
    await append_many(shop, 20)
    await caught_up(shop, broker)
    await asyncio.sleep(0.3)
    assert second.problem == "not started"

    leading.cancel()
    await append_many(shop, 20, start=20)
    await caught_up(shop, broker)

    assert second.problem is None
    await check_complete(shop, broker)


async def test_a_relay_whose_session_ends_stops_publishing_and_begins_anew(
    postgres_shop, broker, background, eventually, caught_up, monkeypatch
):
    shop, problems = postgres_shop, []
    relay = Relay(shop.store, broker)
    monkeypatch.setattr(relay, "_report", lambda error: problems.append(type(error)))
    background(relay.run())
    await append_many(shop, 3)
    await caught_up(shop, broker)

    async with shop.database.write() as conn:
        await conn.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        )
    await eventually(lambda: problems)
    await append_many(shop, 3, start=3)
    await caught_up(shop, broker)

    assert problems == [LeadershipLost]
    await check_complete(shop, broker)


async def test_a_relay_that_is_stopped_at_any_moment_leaves_a_stream_that_its_successor_completes(shop, broker):
    moments = random.Random(7)
    appended = 0
    for _ in range(15):
        await append_many(shop, 20, start=appended)
        appended += 20
        task = asyncio.create_task(Relay(shop.store, broker).run())
        await asyncio.sleep(moments.uniform(0, 0.06))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    last = Relay(shop.store, broker)
    await last.resume()
    await push_all(last)
    await check_complete(shop, broker)


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_restart_of_nats_loses_and_repeats_nothing(
    sqlite_shop, own_nats, connect, background, eventually, caught_up, how
):
    shop, broker = sqlite_shop, await connect("relay", own_nats.settings)
    relay = Relay(shop.store, broker)
    background(relay.run())
    appending = background(append_slowly(shop, 60))
    await asyncio.sleep(0.1)

    getattr(own_nats, how)()
    await asyncio.sleep(0.2)
    own_nats.start()
    await appending
    await eventually(lambda: broker.connected)
    await caught_up(shop, broker)

    await check_complete(shop, broker)
    await eventually(lambda: relay.problem is None)


async def test_a_relay_says_why_it_waits_and_begins_when_nats_comes(
    sqlite_shop, own_nats, connect, background, eventually, caught_up
):
    own_nats.stop()
    shop, broker = sqlite_shop, await connect("relay", own_nats.settings)
    await append_many(shop, 3)
    relay = Relay(shop.store, broker)
    background(relay.run())
    await eventually(lambda: "BrokerAway" in str(relay.problem))

    own_nats.start()
    await eventually(lambda: broker.connected)
    await caught_up(shop, broker)

    await check_complete(shop, broker)
    assert relay.problem is None


async def test_the_last_message_of_a_store_is_found(shop, broker):
    await ensure_stream(broker, shop.name, 1)
    assert await last_message(broker, shop.name) is None
    await append_many(shop, 2)
    relay = Relay(shop.store, broker)
    await relay.resume()
    await push_all(relay)
    newest = (await shop.store.read_after(START, 10))[-1]
    assert await last_message(broker, shop.name) == (2, newest.id, None)
