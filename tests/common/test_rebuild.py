"""A read model is rebuilt from zero beside the one that serves, then takes its place: never half, never behind."""

import asyncio
import gc
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from tests.common import ledger as ledgers
from tests.common.ledger import Ledger

from spoel_common.messaging import Inbox, Superseded, cancel_rebuild
from spoel_common.store import START, Database, migrate
from spoel_common.store.schema import feeds, held, inbox, rebuilds

pytestmark = [
    pytest.mark.invariant("INV-3"),
    # a task that is cancelled while SQLAlchemy makes a connection for it leaves the connection behind
    pytest.mark.filterwarnings("ignore:.*was deleted before being closed:ResourceWarning"),
]

ROOT = Path(__file__).parents[2]
AGGREGATES = tuple("abcdef")
NOTHING_ASIDE = {"gap": 0, "retry": 0, "behind": 0, "parked": 0}


@pytest.fixture(autouse=True)
def left_connections() -> Iterator[None]:
    """Collect connections that were left behind here, and not in the test that comes next."""
    yield
    gc.collect()


@pytest.fixture
def eventually(eventually):
    """Wait patiently: much happens in these tests, and the machine may be busy."""
    return partial(eventually, within_s=40)


@pytest.fixture(scope="session")
def package_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ledger")
    ledgers.write_package(root)
    return root


@pytest.fixture
async def database(package_root, database_url) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    await migrate(database, ledgers.PACKAGE)
    yield database
    await database.close()


@pytest.fixture
async def new_ledger(database, site, connect) -> Callable[..., Ledger]:
    broker = await connect("ledger-main")
    return lambda version=1: Ledger(database, broker, site, version)


@pytest.fixture
async def shop(sqlite_shop, publish):
    publish(sqlite_shop)
    return sqlite_shop


async def fill(shop, events: int) -> None:
    """Append numbers from 0, each to the next aggregate in turn."""
    for turn, aggregate in enumerate(AGGREGATES):
        numbers = range(turn, events, len(AGGREGATES))
        if numbers:
            await shop.count(aggregate, *numbers)


async def in_store(shop, tens: int = 1) -> dict[str, tuple[int, int]]:
    """What the read model must be, from the events themselves."""
    found: dict[str, tuple[int, int]] = {}
    for event in await shop.store.read_after(START, 100_000):
        total, events = found.get(event.aggregate.id, (0, 0))
        number = int(event.raw.partition(b'"number":')[2].partition(b"}")[0])
        found[event.aggregate.id] = (total + number * tens, events + 1)
    return found


async def left_beside(database: Database) -> list[str]:
    """What a rebuild leaves behind: files or schemas."""
    if database.path is not None:
        return [path.name for path in database.path.parent.glob(f"{database.path.name}.rebuild*")]
    async with database.read() as conn:
        return list(await conn.scalars(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'beside%'")))


async def bookkeeping(database: Database) -> set[tuple[str, int]]:
    """Whose checkpoints, heads and held events there are: projection and version."""
    async with database.read() as conn:
        return {
            tuple(row)
            for table in (feeds, inbox, held)
            for row in await conn.execute(select(table.c.projection, table.c.projection_version).distinct())
        }


async def test_it_is_rebuilt_while_events_flow_and_every_reader_sees_a_whole_model(
    shop, new_ledger, background, eventually
):
    ledger = new_ledger()
    background(ledger.keeper.run())
    await fill(shop, 300)

    async def all_there() -> bool:
        return await ledger.rows() == await in_store(shop)

    await eventually(all_there)
    seen, done = [], asyncio.Event()

    async def read_on() -> None:
        while not done.is_set():
            seen.append(await ledger.events())

    async def write_on() -> None:
        while not done.is_set():
            await fill(shop, 5)
            await asyncio.sleep(0.02)

    reading, writing = background(read_on()), background(write_on())
    before = (await ledger.keeper.status()).since
    await ledger.ask()

    await eventually(lambda: switched_after(ledger, before))
    done.set()
    await asyncio.wait({reading, writing})

    assert seen[0] >= 300
    assert seen == sorted(seen), "a reader saw less than before"
    await eventually(all_there)
    await eventually(lambda: no_rest(ledger.database))
    assert await ledger.keeper.consumer.counts() == NOTHING_ASIDE
    assert ledger.keeper.problems() == []


async def no_rest(database: Database) -> bool:
    return await left_beside(database) == []


async def test_a_raised_version_is_built_by_itself_and_nothing_of_the_old_one_is_left(
    shop, new_ledger, background, eventually
):
    old = new_ledger()
    running = background(old.keeper.run())
    await fill(shop, 20)
    await eventually(lambda: whole(old, shop))
    running.cancel()
    await asyncio.wait({running})

    new = new_ledger(2)
    background(new.keeper.run())
    await fill(shop, 20)
    await eventually(lambda: whole(new, shop, 10))

    status = await new.keeper.status()
    assert (status.version, status.rebuild, status.rebuildable) == (2, None, True)
    assert await bookkeeping(new.database) == {("ledger", 2)}
    await eventually(lambda: no_rest(new.database))
    told = new.told
    await shop.count("a", 5)
    await eventually(lambda: new.told > told)
    await eventually(lambda: whole(new, shop, 10))


async def whole(ledger: Ledger, shop, tens: int = 1) -> bool:
    return await ledger.rows() == await in_store(shop, tens)


@pytest.mark.invariant("INV-4")
async def test_what_is_known_of_a_feed_stays_known_across_the_switch(shop, new_ledger, background, eventually):
    ledger = new_ledger()
    background(ledger.keeper.run())
    await fill(shop, 20)
    await eventually(lambda: whole(ledger, shop))
    await eventually(lambda: ledger.keeper.consumer.knowledge()[0].as_of is not None)
    ages, before = [], ledger.keeper.consumer
    await ledger.ask()

    def replaced() -> bool:
        ages.append(ledger.keeper.consumer.knowledge()[0].age_s)
        return ledger.keeper.consumer is not before

    await eventually(replaced)
    replaced()
    assert max(ages) < 5


async def test_a_rebuild_that_is_cancelled_at_any_moment_begins_again_and_comes_to_its_end(
    shop, new_ledger, background, eventually
):
    moments, switched = random.Random(3), set()
    await fill(shop, 60)
    for _ in range(4):
        ledger = new_ledger()
        running = background(ledger.keeper.run())
        await eventually(lambda one=ledger: one.events())
        await ledger.ask()
        await asyncio.sleep(moments.uniform(0, 0.5))
        running.cancel()
        await asyncio.wait({running}, timeout=5)
        assert running.cancelled()
        assert await ledger.events() in {60, 0} or await ledger.rows() == await in_store(shop)
    last = new_ledger()
    background(last.keeper.run())
    await fill(shop, 6)

    async def done() -> bool:
        status = await last.keeper.status()
        switched.add(status.since)
        return status.rebuild is None and await whole(last, shop)

    await eventually(done)
    await eventually(lambda: no_rest(last.database))
    assert await bookkeeping(last.database) == {("ledger", 1)}


async def test_a_process_that_is_killed_while_it_builds_leaves_a_model_that_serves(
    shop, new_ledger, package_root, nats_url, site, background, eventually
):
    ledger, moments = new_ledger(), random.Random(8)
    running = background(ledger.keeper.run())
    await fill(shop, 120)
    await eventually(lambda: whole(ledger, shop))
    await ledger.ask()
    running.cancel()
    await asyncio.wait({running})
    arguments = [str(package_root), ledger.database.url.render_as_string(hide_password=False), nats_url, site, "1"]
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.common.ledger",
            *arguments,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        try:
            assert await asyncio.wait_for(process.stdout.readline(), 60) == b"building\n"
            await asyncio.sleep(moments.uniform(0, 0.3))
        finally:
            process.kill()
            await process.wait()
        assert await whole(ledger, shop)
        await ledger.ask()

    last = new_ledger()
    background(last.keeper.run())
    await eventually(lambda: nothing_asked(last))
    assert await whole(last, shop)
    await eventually(lambda: no_rest(last.database))


async def nothing_asked(ledger: Ledger) -> bool:
    return (await ledger.keeper.status()).rebuild is None


async def test_a_switch_that_fails_in_its_middle_changes_nothing_and_is_tried_again(
    shop, new_ledger, background, eventually, monkeypatch
):
    monkeypatch.setattr("spoel_common.messaging.keeper._AFTER_FAILURE_S", 0.5)
    ledger = new_ledger()
    background(ledger.keeper.run())
    await fill(shop, 20)
    await eventually(lambda: whole(ledger, shop))

    async def fail() -> None:
        raise OSError("the disk is full")

    ledger.around = fail
    await ledger.ask()

    async def told() -> bool:
        rebuild = (await ledger.keeper.status()).rebuild
        return rebuild is not None and "the disk is full" in (rebuild.problem or "")

    await eventually(told)
    assert await whole(ledger, shop)
    await shop.count("a", 3)
    await eventually(lambda: whole(ledger, shop))
    ledger.around = None
    await eventually(lambda: nothing_asked(ledger))
    assert await whole(ledger, shop)


@pytest.mark.invariant("INV-4")
async def test_a_model_that_lacks_what_the_old_one_has_does_not_take_its_place(
    shop, new_ledger, background, eventually, monkeypatch
):
    monkeypatch.setattr("spoel_common.messaging.rebuild._TRY_AGAIN_S", 0.1)
    ledger = new_ledger()
    background(ledger.keeper.run())
    await fill(shop, 20)
    await eventually(lambda: whole(ledger, shop))
    ledger.poison = 13
    since = (await ledger.keeper.status()).since
    await ledger.ask()

    async def told() -> bool:
        rebuild = await ledger.rebuilding()
        return "1 aggregates, such as b, have events" in (rebuild.problem or "")

    await eventually(told)
    assert (await ledger.keeper.status()).since == since
    assert await whole(ledger, shop)

    async with ledger.database.write() as conn:
        assert await cancel_rebuild(conn, "ledger")
    await eventually(lambda: no_rest(ledger.database))
    await shop.count("a", 5)
    await eventually(lambda: whole(ledger, shop))


async def test_what_could_not_be_applied_before_is_applied_after_a_rebuild_with_better_code(
    shop, new_ledger, background, eventually
):
    ledger = new_ledger()
    ledger.poison = 7
    ledger.keeper.consumer._retry_delays_s = ()
    background(ledger.keeper.run())
    await fill(shop, 20)

    async def aside() -> bool:
        return (await ledger.keeper.consumer.counts())["retry"] == 1

    await eventually(aside)
    ledger.poison = None
    await ledger.ask()
    await eventually(lambda: nothing_asked(ledger))
    assert await whole(ledger, shop)
    assert await ledger.keeper.consumer.counts() == NOTHING_ASIDE
    await eventually(lambda: ledger.keeper.consumer.knowledge()[0].held == 0)


async def test_of_two_processes_of_a_service_one_rebuilds_and_both_go_on(
    shop, database, new_ledger, connect, site, background, eventually
):
    one = new_ledger()
    other_database = await Database.open(database.url)
    try:
        other = Ledger(other_database, await connect("ledger-main"), site)
        running = background(one.keeper.run()), background(other.keeper.run())
        await fill(shop, 30)
        await eventually(lambda: whole(one, shop))
        for asking in (one, other):
            before = (await other.keeper.status()).since
            consumers = one.keeper.consumer, other.keeper.consumer
            await asking.ask()
            await eventually(lambda since=before: switched_after(other, since))
            await eventually(
                lambda was=consumers: was[0] is not one.keeper.consumer and was[1] is not other.keeper.consumer
            )
            await fill(shop, 6)
            await eventually(lambda: whole(one, shop))
        assert one.keeper.problems() + other.keeper.problems() == []
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    finally:
        await other_database.close()


async def switched_after(ledger: Ledger, since: datetime) -> bool:
    status = await ledger.keeper.status()
    return status.rebuild is None and status.since > since


async def test_an_older_release_keeps_away_from_a_newer_model(shop, new_ledger, background, eventually):
    newer = new_ledger(2)
    running = background(newer.keeper.run())
    await fill(shop, 20)
    await eventually(lambda: whole(newer, shop, 10))
    running.cancel()
    await asyncio.wait({running})

    older = new_ledger(1)
    with pytest.raises(Superseded, match="version 2 of ledger serves, not version 1"):
        await Inbox(older.projection, older.database, shop.name.source).open("a stream")
    background(older.keeper.run())
    await eventually(older.keeper.problems)
    assert "this release knows version 1" in older.keeper.problems()[0]
    await fill(shop, 20)
    await asyncio.sleep(0.3)
    assert await older.events() == 20

    await older.ask()
    await eventually(lambda: whole(older, shop))
    assert (await older.keeper.status()).version == 1
    await eventually(lambda: older.keeper.problems() == [])


async def test_a_service_from_before_versions_were_noted_serves_what_it_has(shop, new_ledger, background, eventually):
    first = new_ledger()
    running = background(first.keeper.run())
    await fill(shop, 10)
    await eventually(lambda: whole(first, shop))
    running.cancel()
    await asyncio.wait({running})
    async with first.database.write() as conn:
        await conn.execute(text("DELETE FROM serving"))

    background(new_ledger(2).keeper.run())

    async def rebuilt() -> bool:
        return await first.rows() == await in_store(shop, 10)

    await eventually(rebuilt)


async def test_a_new_service_with_a_high_version_builds_it_once(shop, new_ledger, background, eventually):
    ledger = new_ledger(5)
    background(ledger.keeper.run())
    await fill(shop, 10)
    await eventually(lambda: whole(ledger, shop, 10_000))
    async with ledger.database.read() as conn:
        assert (await conn.execute(select(func.count()).select_from(rebuilds))).scalar_one() == 0
    assert (await ledger.keeper.status()).version == 5
