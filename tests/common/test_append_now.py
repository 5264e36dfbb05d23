"""The hot path of appending: one transaction of its own, durable when it returns, refused as a whole."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoel_common.errors import VersionConflict
from spoel_common.events import EventTooLarge
from spoel_common.store import (
    START,
    AggregateArchived,
    AggregateRef,
    AnswerExists,
    Append,
    NewAnswer,
    idempotency,
    snapshots,
)

pytestmark = pytest.mark.invariant("INV-3")

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
WRITER = Path(__file__).with_name("append_until_killed.py")
CHECKOUT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(CHECKOUT)}


def asked(shop, aggregate_id, expected=0, events=1, **changes) -> Append:
    envelopes = [shop.envelope(aggregate_id, expected + number, **changes) for number in range(1, events + 1)]
    return Append(AggregateRef("counter", aggregate_id), expected, envelopes)


def answer(key="k") -> NewAnswer:
    return NewAnswer("person-1", "POST /r", key, "h", 201, b"{}", NOW)


async def kept(shop, key="k"):
    async with shop.database.read() as conn:
        return await idempotency.find(conn, "person-1", "POST /r", key)


async def stored(shop) -> list[tuple[str, int]]:
    return [(event.aggregate.id, event.version) for event in await shop.store.read_after(START, 1_000)]


async def test_events_of_several_aggregates_and_the_answer_are_stored_together(shop):
    place = await shop.store.append_now([asked(shop, "a", events=2), asked(shop, "b")], answer())

    assert await stored(shop) == [("a", 1), ("a", 2), ("b", 1)]
    assert place == await shop.store.head()
    found = await kept(shop)
    assert (found.body_hash, found.status, found.body, found.created_at) == ("h", 201, b"{}", NOW)
    assert shop.store.appended.is_set()


async def test_the_bytes_are_those_of_the_envelope_and_load_reads_them(shop):
    append = asked(shop, "a", events=3)
    await shop.store.append_now([append])

    assert await load(shop, "a") == append.envelopes
    assert [event.raw for event in await shop.store.read_after(START, 9)] == [
        envelope.to_bytes() for envelope in append.envelopes
    ]


async def load(shop, aggregate_id):
    async with shop.database.read() as conn:
        return await shop.store.load(conn, AggregateRef("counter", aggregate_id))


@pytest.mark.parametrize("expected", [0, 1, 3, 7])
async def test_another_version_than_expected_is_refused_and_nothing_of_the_job_is_stored(shop, expected):
    await shop.store.append_now([asked(shop, "a", events=2)])
    with pytest.raises(VersionConflict, match="version 2 by now"):
        await shop.store.append_now([asked(shop, "new"), asked(shop, "a", expected)], answer())
    assert await stored(shop) == [("a", 1), ("a", 2)]
    assert await kept(shop) is None


async def test_the_same_events_again_are_not_stored_again_and_their_place_is_returned(shop):
    append = asked(shop, "a", events=2)
    place = await shop.store.append_now([append])
    await shop.store.append_now([asked(shop, "a", 2)])

    assert await shop.store.append_now([append], answer()) == place
    assert await stored(shop) == [("a", 1), ("a", 2), ("a", 3)]
    assert await kept(shop) is not None


async def test_an_id_is_not_used_for_other_bytes(shop):
    append = asked(shop, "a")
    await shop.store.append_now([append])
    with pytest.raises(VersionConflict, match="already used"):
        await shop.store.append_now([asked(shop, "b", id=append.envelopes[0].id)])
    assert await stored(shop) == [("a", 1)]


async def test_a_twin_gets_no_second_answer_and_stores_nothing(shop):
    await shop.store.append_now([asked(shop, "a")], answer())
    with pytest.raises(AnswerExists):
        await shop.store.append_now([asked(shop, "b")], answer())
    assert await stored(shop) == [("a", 1)]


async def test_nothing_is_appended_to_an_archived_aggregate_by_either_way(shop):
    await shop.append("a", 0, shop.envelope("a", 1))
    async with shop.database.write() as conn:
        await snapshots.archive(conn, AggregateRef("counter", "a"), 1, NOW)
    with pytest.raises(AggregateArchived):
        await shop.store.append_now([asked(shop, "a", 1)])
    with pytest.raises(AggregateArchived):
        await shop.append("a", 1, shop.envelope("a", 2))
    assert await stored(shop) == [("a", 1)]


async def test_what_does_not_belong_is_refused_before_anything_is_stored(shop):
    with pytest.raises(ValueError, match="nothing to append"):
        await shop.store.append_now([])
    with pytest.raises(ValueError, match="one append"):
        await shop.store.append_now([asked(shop, "a"), asked(shop, "a")])
    with pytest.raises(ValueError, match="version 1"):
        await shop.store.append_now([asked(shop, "a", source="/spoel/local/intake/elsewhere")])
    with pytest.raises(EventTooLarge):
        await shop.store.append_now([asked(shop, "a", correlationid="c" * 60_000)])
    assert await shop.store.count() == 0


async def test_of_many_callers_at_once_each_gets_its_own_outcome(shop):
    """Conflicts, repeats and good ones in one commit: a refusal costs the others nothing."""
    known = asked(shop, "known")
    await shop.store.append_now([known])
    jobs = []
    for number in range(60):
        jobs += [
            [asked(shop, f"n{number}", events=3)],
            [asked(shop, "known", 5)],
            [known],
            [asked(shop, "contested", 0)],
        ]
    outcomes = await asyncio.gather(*(shop.store.append_now(job) for job in jobs), return_exceptions=True)

    good, refused, repeated, contested = (outcomes[start::4] for start in range(4))
    assert all(isinstance(outcome, VersionConflict) for outcome in refused)
    assert len(set(good)) == 60
    assert len(set(repeated)) == 1
    assert sum(not isinstance(outcome, Exception) for outcome in contested) == 1
    assert await shop.store.count() == 60 * 3 + 2


async def test_the_first_callers_of_a_database_may_come_all_at_once(shop):
    await asyncio.gather(*(shop.store.append_now([asked(shop, f"f{number}")]) for number in range(30)))
    assert await shop.store.count() == 30


async def test_whatever_goes_wrong_every_caller_is_told_and_the_next_one_is_served(sqlite_shop, monkeypatch):
    """A value that the driver cannot take is no error of the database: even then nobody waits for ever."""
    appender = sqlite_shop.database.appender
    commit = appender._commit

    def refuse(_jobs):
        raise OverflowError("Python int too large to convert to SQLite INTEGER")

    monkeypatch.setattr(appender, "_commit", refuse)
    jobs = [sqlite_shop.store.append_now([asked(sqlite_shop, f"o{number}")]) for number in range(3)]
    outcomes = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 10)
    assert [type(outcome) for outcome in outcomes] == [OverflowError] * 3
    monkeypatch.setattr(appender, "_commit", commit)
    await sqlite_shop.store.append_now([asked(sqlite_shop, "a")])
    assert await stored(sqlite_shop) == [("a", 1)]


async def test_who_does_not_get_a_turn_in_time_is_told_so_and_nothing_is_stored(sqlite_shop, monkeypatch):
    monkeypatch.setattr("spoel_common.store.database.TURN_TIMEOUT_S", 0.1)
    async with sqlite_shop.database.write():
        with pytest.raises(PoolTimeout):
            await sqlite_shop.store.append_now([asked(sqlite_shop, "a")])
    await sqlite_shop.store.append_now([asked(sqlite_shop, "b")])
    assert await stored(sqlite_shop) == [("b", 1)]


async def test_units_of_work_and_the_hot_path_take_turns(shop):
    async def by_unit(number):
        await shop.count(f"u{number}", 1, 1)

    async def at_once(number):
        await shop.store.append_now([asked(shop, f"h{number}")])

    await asyncio.gather(*(act(number) for number in range(40) for act in (by_unit, at_once)))
    assert await shop.store.count() == 40 * 3


async def test_a_cancelled_caller_does_not_stop_the_others(shop):
    first = asyncio.create_task(shop.store.append_now([asked(shop, "a")]))
    second = asyncio.create_task(shop.store.append_now([asked(shop, "b")]))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert ("b", 1) in await stored(shop)
    await shop.store.append_now([asked(shop, "c")])


async def test_a_database_that_fails_is_an_error_of_the_database_and_the_next_call_works(shop):
    async with shop.database.write() as conn:
        await conn.execute(text("ALTER TABLE events RENAME TO elsewhere"))
    with pytest.raises(DBAPIError):
        await shop.store.append_now([asked(shop, "a")])
    async with shop.database.write() as conn:
        await conn.execute(text("ALTER TABLE elsewhere RENAME TO events"))
    await shop.store.append_now([asked(shop, "a")])
    assert await stored(shop) == [("a", 1)]


def write_and_kill(url, kill) -> list[str]:
    command = [sys.executable, WRITER, url, str(kill)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, env=ENVIRONMENT) as writer:
        acknowledged = [writer.stdout.readline().strip() for _ in range(150 * (kill + 1))]
        writer.kill()
        return acknowledged + [line.strip() for line in writer.stdout if line.endswith("\n")]


async def test_what_was_acknowledged_survives_a_kill_and_no_job_is_there_by_half(new_sqlite, open_database, tmp_path):
    """A process that appends jobs of three events, 20 callers at once, is killed with -9 three times."""
    url = new_sqlite()
    database = await open_database(url)
    for kill in range(3):
        acknowledged = write_and_kill(url, kill)
        async with database.read() as conn:
            rows = await conn.execute(text("SELECT aggregate_id, count(*) FROM events GROUP BY aggregate_id"))
            found = {row[0]: row[1] for row in rows}
        assert set(acknowledged) <= found.keys()
        assert set(found.values()) == {3}


async def test_a_full_disk_refuses_and_leaves_the_file_whole(new_sqlite, open_database, sqlite_shop):
    """The database may not grow: the driver says that it is full, nothing of the job is there, later it works again."""
    path = sqlite_shop.database.path
    await sqlite_shop.store.append_now([asked(sqlite_shop, "a")])
    appender = sqlite_shop.database.appender
    pages = appender._conn  # opened in the appender's own thread, and only used there

    def limit(count: int | None) -> None:
        size = pages.execute("PRAGMA page_count").fetchone()[0] if count is None else count
        pages.execute(f"PRAGMA max_page_count={size}")

    loop = asyncio.get_running_loop()
    await loop.run_in_executor(appender._thread, limit, None)
    with pytest.raises(DBAPIError, match="full"):
        await sqlite_shop.store.append_now([asked(sqlite_shop, "big", events=200, correlationid="c" * 5_000)])
    assert await stored(sqlite_shop) == [("a", 1)]

    await sqlite_shop.store.append_now([asked(sqlite_shop, "big", events=200, correlationid="c" * 5_000)])
    with sqlite3.connect(path) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
