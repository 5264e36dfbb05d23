"""A fault of the code stops a feed before it has put the whole stream aside; it goes on once there is room (INV-3)."""

import asyncio

import pytest
from tests.common.test_inbox import POISON, SEEN, Reader

from spoel_common.messaging import Inbox, list_held, parked

pytestmark = pytest.mark.invariant("INV-3")

LIMIT = 3
BROKEN = [f"a{number}" for number in range(10)]


async def replay_first(database) -> int:
    first = (await list_held(database, "sums", 1))[0]
    async with database.write() as conn:
        return await parked.replay(conn, await parked.locked(conn, first.held_id))


@pytest.fixture(params=[False, True], ids=["one-by-one", "batches"])
async def reader(request, database, shop) -> Reader:
    reader = Reader(database, shop, batches=request.param)
    reader.inbox = Inbox(reader.projection, database, shop.name.source, (0.0,), failing_limit=LIMIT)
    async with database.write() as conn:
        await conn.run_sync(SEEN.metadata.create_all)
    await reader.inbox.open("stream-1")
    return reader


async def test_nothing_is_put_aside_beyond_the_limit_and_nothing_passed_over(reader):
    messages = reader.messages(("ok", 1), *((name, 1, POISON) for name in BROKEN), ("ok", 2))

    outcome = await reader.inbox.take(messages)

    assert (outcome.full, outcome.checkpoint.sequence, outcome.held) == (True, 1 + LIMIT, LIMIT)
    assert f"{LIMIT} aggregates have events that could not be applied, and now counter a3" in str(outcome.stop)
    assert await reader.held() == [(name, 1, "retry") for name in BROKEN[:LIMIT]]
    assert await reader.seen() == [("ok", 1)]
    assert not await reader.inbox.has_room()
    again = await reader.inbox.take(messages)
    assert (again.full, again.checkpoint, again.held) == (True, outcome.checkpoint, LIMIT)

    reader.poisonous.clear()
    retried = await reader.inbox.retry_due()
    assert (retried.stop, await reader.inbox.has_room()) == (None, True)
    rest = await reader.inbox.take(messages)
    assert (rest.full, rest.stop, rest.held, rest.checkpoint.sequence) == (False, None, 0, len(messages))
    assert sorted(await reader.seen()) == sorted([("ok", 1), ("ok", 2), *((name, 1) for name in BROKEN)])


async def test_later_events_of_an_aggregate_that_fails_already_do_not_count(reader):
    many = reader.messages(("a", 1, POISON), *(("a", version) for version in range(2, 12)), ("b", 1))
    outcome = await reader.inbox.take(many)
    assert (outcome.full, outcome.held, await reader.seen()) == (False, 11, [("b", 1)])


async def test_events_that_wait_behind_a_gap_do_not_count(reader):
    outcome = await reader.inbox.take(reader.messages(*((name, 2) for name in BROKEN), ("b", 1, POISON)))
    assert (outcome.full, outcome.held) == (False, len(BROKEN) + 1)


async def test_bytes_that_are_no_event_count_each(reader):
    good = reader.messages(*((name, 1) for name in BROKEN))
    outcome = await reader.inbox.take([message._replace(raw=b"broken") for message in good])
    assert (outcome.full, outcome.held, outcome.checkpoint.sequence) == (True, LIMIT, LIMIT)


async def test_data_that_does_not_fit_the_model_counts_too(reader):
    good = reader.messages(("ok", 1))
    wrong = [reader.message(reader.shop.envelope(name, 1, data={"number": "x"})) for name in BROKEN]
    outcome = await reader.inbox.take([*good, *wrong])
    assert (outcome.full, outcome.held, outcome.checkpoint.sequence) == (True, LIMIT, LIMIT + 1)
    assert await reader.seen() == [("ok", 1)]


async def fill(shop, sums, eventually) -> None:
    sums.fails_on = POISON
    for name in BROKEN:
        await shop.count(name, POISON)
    await shop.count("ok", 5)
    await eventually(sums.consumer.problems)


async def test_a_feed_that_stopped_at_the_limit_says_so_and_goes_on_when_events_are_replayed(
    shop, other_database, publish, new_sums, eventually
):
    sums = await new_sums(other_database, failing_limit=LIMIT)
    publish(shop)
    await fill(shop, sums, eventually)

    assert "3 aggregates have events that could not be applied" in sums.consumer.problems()[0]
    assert "3 aggregates have events" in str(sums.of(shop).stopped)
    await eventually(lambda: sums.consumer.totals()["parked"] == LIMIT)
    await asyncio.sleep(0.5)
    assert (sums.of(shop).stream_sequence, await sums.totals()) == (LIMIT, {})
    assert len(await list_held(sums.database, "sums", 1)) == LIMIT

    sums.fails_on = None
    assert await replay_first(sums.database) == 1

    await eventually(lambda: len(sums.committed) == len(BROKEN) - LIMIT + 2)
    await eventually(lambda: sums.consumer.problems() == [])
    assert len(await list_held(sums.database, "sums", 1)) == LIMIT - 1
    assert sums.of(shop).stream_sequence == len(BROKEN) + 1
    assert sums.of(shop).stopped is None


async def test_a_feed_that_stopped_at_the_limit_goes_on_with_repaired_code_after_a_restart(
    sqlite_shop, connect, publish, new_sums, eventually
):
    planning = await connect("planning-main")
    broken = await new_sums(broker=planning, failing_limit=LIMIT, retry_delays_s=())
    publish(sqlite_shop)
    await fill(sqlite_shop, broken, eventually)
    broken.running.cancel()
    await asyncio.wait({broken.running})

    repaired = await new_sums(broken.database, planning, failing_limit=LIMIT)

    await eventually(lambda: len(repaired.committed) == len(BROKEN) - LIMIT + 1)
    assert repaired.consumer.problems() == []
    assert [event.state for event in await list_held(broken.database, "sums", 1)] == ["parked"] * LIMIT


async def test_what_was_replayed_is_taken_within_a_second_or_so(sqlite_shop, publish, new_sums, eventually):
    sums = await new_sums(retry_delays_s=())
    sums.fails_on = POISON
    publish(sqlite_shop)
    await sqlite_shop.count("a", POISON, 1)
    await eventually(lambda: sums.consumer.totals()["parked"] == 1)
    sums.fails_on = None

    await replay_first(sums.database)

    await eventually(lambda: len(sums.committed) == 2)
    await eventually(lambda: sums.of(sqlite_shop).held == 0)
