"""The event store: what may be appended, in which order it is read, what is refused. On both databases."""

import asyncio
from itertools import pairwise

import pytest
from sqlalchemy import text

from spoel_common.errors import VersionConflict
from spoel_common.events import EventTooLarge
from spoel_common.store import START, AggregateRef, Cursor, check_order

A = AggregateRef("counter", "a")


async def load(shop, aggregate_id: str, after_version: int = 0):
    async with shop.database.read() as conn:
        return await shop.store.load(conn, AggregateRef("counter", aggregate_id), after_version)


async def test_an_appended_aggregate_is_loaded_in_order_of_version(shop):
    envelopes = [shop.envelope("a", version, number=version * 10) for version in (1, 2, 3)]
    await shop.append("a", 0, *envelopes[:2])
    await shop.append("b", 0, shop.envelope("b", 1))
    await shop.append("a", 2, envelopes[2])

    assert await load(shop, "a") == envelopes
    assert await load(shop, "a", after_version=2) == envelopes[2:]
    assert await load(shop, "unknown") == []


async def test_the_stored_bytes_are_those_of_the_envelope(shop):
    envelope = shop.envelope("a", 1)
    await shop.append("a", 0, envelope)

    (stored,) = await shop.store.read_after(START, 10)

    assert stored.raw == envelope.to_bytes()
    assert (stored.id, stored.aggregate, stored.version, stored.type) == (envelope.id, A, 1, envelope.type)
    assert await shop.store.find(envelope.id) == stored
    assert await shop.store.find("unknown") is None


@pytest.mark.invariant("INV-3")
@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_another_version_than_the_newest_is_refused(shop, expected):
    await shop.append("a", 0, shop.envelope("a", 1), shop.envelope("a", 2))

    with pytest.raises(VersionConflict) as refused:
        await shop.append("a", expected, shop.envelope("a", expected + 1))

    assert refused.value.facts == {"aggregate_type": "counter", "aggregate_id": "a"}
    assert await shop.store.count() == 2


@pytest.mark.invariant("INV-3")
async def test_versions_with_a_hole_are_a_fault_of_the_caller(shop):
    with pytest.raises(ValueError, match="version 2"):
        await shop.append("a", 0, shop.envelope("a", 1), shop.envelope("a", 3))
    with pytest.raises(ValueError, match="version 1"):
        await shop.append("a", 0, shop.envelope("b", 1))
    with pytest.raises(ValueError, match="version 1"):
        await shop.append("a", 0, shop.envelope("a", 1, source="/spoel/local/intake/elsewhere"))
    assert await shop.store.count() == 0


@pytest.mark.invariant("INV-3")
async def test_appending_the_same_bytes_again_does_nothing(shop):
    envelopes = [shop.envelope("a", 1), shop.envelope("a", 2)]
    await shop.append("a", 0, *envelopes)
    await shop.append("a", 2, shop.envelope("a", 3))

    await shop.append("a", 0, *envelopes)

    assert await shop.store.count() == 3


@pytest.mark.invariant("INV-3")
async def test_an_event_id_is_not_used_for_other_bytes(shop):
    first = shop.envelope("a", 1)
    await shop.append("a", 0, first)

    with pytest.raises(VersionConflict, match="already used"):
        await shop.append("a", 1, shop.envelope("a", 2, id=first.id))
    with pytest.raises(VersionConflict, match="already used"):
        await shop.append("a", 0, first, shop.envelope("a", 2))
    assert await shop.store.count() == 1


async def test_an_event_that_is_too_large_is_refused_at_append(shop):
    large = shop.envelope("a", 1, correlationid="c" * 60_000)
    with pytest.raises(EventTooLarge):
        await shop.append("a", 0, large)
    assert await shop.store.count() == 0


async def test_events_of_several_aggregates_are_appended_together_or_not_at_all(shop):
    await shop.append("b", 0, shop.envelope("b", 1))

    async def append_both(version: int) -> None:
        async with shop.database.write() as conn:
            await shop.store.append(conn, A, version - 1, [shop.envelope("a", version)])
            await shop.store.append(conn, AggregateRef("counter", "b"), 1, [shop.envelope("b", 2)])

    await append_both(1)
    assert await shop.store.count() == 3
    with pytest.raises(VersionConflict):
        await append_both(2)
    assert await shop.store.count() == 3


async def test_the_relay_is_woken_by_a_commit_and_not_by_a_rollback(shop):
    async def append_and_fail() -> None:
        async with shop.database.write() as conn:
            await shop.store.append(conn, A, 0, [shop.envelope("a", 1)])
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await append_and_fail()
    assert not shop.store.appended.is_set()

    async with shop.database.write() as conn:
        await shop.store.append(conn, A, 0, [shop.envelope("a", 1)])
        assert not shop.store.appended.is_set()
    assert shop.store.appended.is_set()


async def test_reading_goes_on_behind_the_cursor(shop):
    for number in range(5):
        await shop.append(f"a{number}", 0, shop.envelope(f"a{number}", 1))

    first = await shop.store.read_after(START, 3)
    rest = await shop.store.read_after(first[-1].cursor, 3)

    assert [event.aggregate.id for event in first + rest] == ["a0", "a1", "a2", "a3", "a4"]
    assert rest[-1].cursor == await shop.store.head()
    assert await shop.store.read_after(rest[-1].cursor, 3) == []


async def test_an_empty_store_has_its_head_at_the_start(shop):
    assert await shop.store.head() == START
    assert await shop.store.read_after(START, 10) == []


@pytest.mark.invariant("INV-3")
async def test_of_writers_at_the_same_version_exactly_one_wins(shop):
    await shop.append("a", 0, shop.envelope("a", 1))

    results = await asyncio.gather(
        *(shop.append("a", 1, shop.envelope("a", 2, number=number)) for number in range(8)), return_exceptions=True
    )

    assert [type(result) for result in results if result is not None] == [VersionConflict] * 7
    assert len(await load(shop, "a")) == 2


@pytest.mark.invariant("INV-3")
async def test_concurrent_read_then_write_transactions_leave_no_hole_and_lose_nothing(shop):
    wins = 0

    async def write(worker: int) -> None:
        nonlocal wins
        for _ in range(10):
            try:
                await shop.count(f"a{worker % 2}", 1, 1)
                wins += 1
            except VersionConflict:
                continue

    await asyncio.gather(*(write(worker) for worker in range(6)))

    loaded = [await load(shop, f"a{number}") for number in (0, 1)]
    for envelopes in loaded:
        assert [envelope.aggregateversion for envelope in envelopes] == list(range(1, len(envelopes) + 1))
    assert sum(map(len, loaded)) == 2 * wins
    assert wins >= 20


async def test_transactions_of_two_processes_that_read_first_wait_for_each_other(new_shop, open_database, new_sqlite):
    """With a plain BEGIN, SQLite refuses the later write of one of them, whatever the busy time-out."""
    url = new_sqlite()
    shops = [new_shop(await open_database(url), store="main") for _ in range(2)]

    async def write(number: int) -> None:
        for _ in range(15):
            await shops[number].count(f"a{number}", 1)

    await asyncio.gather(write(0), write(1))

    assert await shops[0].store.count() == 30


@pytest.mark.invariant("INV-3")
async def test_a_reader_that_follows_live_misses_nothing_and_keeps_every_aggregates_order(shop):
    done = asyncio.Event()

    async def write(worker: int) -> None:
        for number in range(15):
            async with shop.database.write() as conn:
                ref = AggregateRef("counter", f"own-{worker}")
                await shop.store.append(conn, ref, 2 * number, [shop.envelope(ref.id, 2 * number + 1)])
                await asyncio.sleep(0.003 * (worker % 3))  # positions are drawn long before the commit
                await shop.store.append(conn, ref, 2 * number + 1, [shop.envelope(ref.id, 2 * number + 2)])

    async def follow() -> list:
        seen, cursor = [], START
        while True:
            ended = done.is_set()
            events = await shop.store.read_after(cursor, 7)
            seen += events
            if events:
                cursor = events[-1].cursor
            elif ended:
                return seen
            await asyncio.sleep(0)

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(write(worker) for worker in range(8)))
    done.set()
    seen = await follower

    assert len(seen) == len({event.id for event in seen}) == 8 * 30
    for worker in range(8):
        versions = [event.version for event in seen if event.aggregate.id == f"own-{worker}"]
        assert versions == list(range(1, 31))
    assert all(before.cursor < after.cursor for before, after in pairwise(seen))


@pytest.mark.invariant("INV-3")
async def test_nothing_of_an_open_transaction_is_passed_over(postgres_shop):
    """A position is drawn at the insert, a commit comes later: reading by position alone would skip it."""
    shop = postgres_shop
    async with shop.database.write() as slow:
        await shop.store.append(slow, A, 0, [shop.envelope("a", 1)])
        await shop.append("b", 0, shop.envelope("b", 1))
        assert await shop.store.read_after(START, 10) == []
        head = await shop.store.head()
    events = await shop.store.read_after(START, 10)

    assert [event.aggregate.id for event in events] == ["a", "b"]
    assert head == events[-1].cursor


@pytest.mark.invariant("INV-3")
async def test_an_old_transaction_does_not_write_behind_a_younger_one(postgres_shop):
    """The order is by transaction id, drawn at the first write; a later version must not come earlier in it."""
    shop = postgres_shop

    async def append_late() -> None:
        async with shop.database.write() as old:
            await shop.store.append(old, AggregateRef("counter", "other"), 0, [shop.envelope("other", 1)])
            await shop.append("a", 0, shop.envelope("a", 1))
            await shop.store.append(old, A, 1, [shop.envelope("a", 2)])

    with pytest.raises(VersionConflict, match="began later"):
        await append_late()
    assert [event.aggregate.id for event in await shop.store.read_after(START, 10)] == ["a"]
    await shop.append("a", 1, shop.envelope("a", 2))


async def test_two_transactions_that_wait_for_each_other_end_as_a_conflict(postgres_shop):
    shop = postgres_shop
    both_wrote = asyncio.Barrier(2)

    async def write(first: str, second: str) -> None:
        async with shop.database.write() as conn:
            await shop.store.append(conn, AggregateRef("counter", first), 0, [shop.envelope(first, 1)])
            await both_wrote.wait()
            await shop.store.append(conn, AggregateRef("counter", second), 0, [shop.envelope(second, 1)])

    results = await asyncio.gather(write("a", "b"), write("b", "a"), return_exceptions=True)

    assert [type(result) for result in results if result is not None] == [VersionConflict]
    assert await shop.store.count() == 2


async def test_transaction_ids_of_another_cluster_are_noticed(postgres_shop):
    shop = postgres_shop
    await shop.append("a", 0, shop.envelope("a", 1))
    assert await check_order(shop.database) is None

    async with shop.database.write() as conn:
        await conn.execute(
            text("""
            INSERT INTO events (xid, id, aggregate_type, aggregate_id, version, type, raw)
            VALUES ('9000000', 'restored', 'counter', 'z', 1, 't', '')""")
        )

    assert "another cluster" in str(await check_order(shop.database))


async def test_positions_ascend_with_the_commits(sqlite_shop):
    shop = sqlite_shop
    await shop.append("a", 0, shop.envelope("a", 1))
    before = await shop.store.head()
    await shop.append("b", 0, shop.envelope("b", 1))

    assert before == Cursor(0, 1)
    assert await shop.store.head() == Cursor(0, 2)
    assert await check_order(shop.database) is None
