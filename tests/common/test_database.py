"""The two databases behind one door: transactions, settings, time-outs, moments, upserts."""

import asyncio
import stat
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from spoel_common.store import Database, UtcDateTime, upsert

NOTES = Table(
    "notes",
    MetaData(),
    Column("key", String, primary_key=True),
    Column("number", Integer),
    Column("at", UtcDateTime),
)


@pytest.fixture
async def notes(database) -> Database:
    async with database.write() as conn:
        await conn.run_sync(NOTES.metadata.create_all)
    return database


async def numbers_in(database) -> list[int]:
    async with database.read() as conn:
        return list((await conn.execute(select(NOTES.c.number).order_by(NOTES.c.key))).scalars())


async def test_a_block_that_ends_well_is_committed_and_one_that_fails_is_not(notes):
    async with notes.write() as conn:
        await conn.execute(insert(NOTES).values(key="a", number=1))

    async def write_and_fail() -> None:
        async with notes.write() as conn:
            await conn.execute(insert(NOTES).values(key="b", number=2))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await write_and_fail()
    assert await numbers_in(notes) == [1]


async def test_a_cancelled_block_is_rolled_back_and_the_next_one_works(notes):
    async def write() -> None:
        async with notes.write() as conn:
            await conn.execute(insert(NOTES).values(key="a", number=1))
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with notes.write() as conn:
        await conn.execute(insert(NOTES).values(key="a", number=2))
    assert await numbers_in(notes) == [2]


async def test_what_waits_for_the_commit_is_called_after_it_once(notes):
    called: list[str] = []

    def call() -> None:
        called.append("committed")

    async def write_and_fail() -> None:
        async with notes.write() as conn:
            notes.after_commit(conn, call)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await write_and_fail()
    async with notes.write() as conn:
        notes.after_commit(conn, call)
        notes.after_commit(conn, call)
        assert called == []
    assert called == ["committed"]


async def test_a_read_transaction_cannot_write(notes):
    with pytest.raises(DBAPIError, match="read"):
        async with notes.read() as conn:
            await conn.execute(insert(NOTES).values(key="a", number=1))


@pytest.mark.invariant("INV-6")
async def test_an_error_does_not_repeat_the_values_of_its_statement(notes):
    async def write_twice() -> None:
        async with notes.write() as conn:
            await conn.execute(insert(NOTES), [{"key": "Mevrouw Jansen", "number": 1}] * 2)

    with pytest.raises(IntegrityError) as caught:
        await write_twice()
    text_shown = str(caught.value).replace(str(caught.value.orig), "")  # PostgreSQL's own DETAIL does, alas
    assert "INSERT INTO notes" in text_shown
    assert "Jansen" not in text_shown


async def test_reading_goes_on_while_somebody_writes(notes):
    async with notes.write() as conn:
        await conn.execute(insert(NOTES).values(key="a", number=1))
    async with notes.write() as conn:
        await conn.execute(insert(NOTES).values(key="b", number=2))
        assert await numbers_in(notes) == [1]
    assert await numbers_in(notes) == [1, 2]


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=2))])
async def test_a_moment_comes_back_as_it_was_in_utc(notes, zone):
    moment = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=zone)
    async with notes.write() as conn:
        await conn.execute(insert(NOTES).values(key="a", at=moment))
        await conn.execute(insert(NOTES).values(key="b", at=None))
    async with notes.read() as conn:
        found = list((await conn.execute(select(NOTES.c.at).order_by(NOTES.c.key))).scalars())
        later = (await conn.execute(select(NOTES.c.key).where(NOTES.c.at > moment - timedelta(microseconds=1)))).all()
    assert found == [moment, None]
    assert found[0].tzinfo is UTC
    assert [row.key for row in later] == ["a"]


async def test_a_moment_without_a_zone_is_refused(notes):
    async with notes.write() as conn:
        with pytest.raises(Exception, match="no time zone"):
            await conn.execute(insert(NOTES).values(key="a", at=datetime(2026, 11, 22)))  # noqa: DTZ001 - what is refused


async def test_an_upsert_overwrites_only_the_columns_that_are_given(notes):
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    async with notes.write() as conn:
        await upsert(conn, NOTES, [])
        await upsert(conn, NOTES, [{"key": "a", "number": 1, "at": moment}, {"key": "b", "number": 2, "at": moment}])
        await upsert(conn, NOTES, [{"key": "a", "number": 3}])
        await upsert(conn, NOTES, [{"key": "b"}, {"key": "c"}])
    async with notes.read() as conn:
        rows = [tuple(row) for row in await conn.execute(select(NOTES).order_by(NOTES.c.key))]
    assert rows == [("a", 3, moment), ("b", 2, moment), ("c", None, None)]


async def test_sqlite_waits_for_the_disk_at_every_commit(sqlite_url):
    database = await Database.open(sqlite_url)
    async with database.write() as conn:
        settings = {name: (await conn.execute(text(f"PRAGMA {name}"))).scalar_one() for name in SQLITE_SETTINGS}
    await database.close()
    assert settings == SQLITE_SETTINGS


SQLITE_SETTINGS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_the_folder_of_a_sqlite_file_is_made_for_its_owner_only(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path}/new/deep/file.db")
    async with database.write():
        pass
    await database.close()
    assert stat.S_IMODE((tmp_path / "new" / "deep").stat().st_mode) == 0o700


async def test_postgresql_ends_sessions_that_idle_and_waits_that_last(postgres_url):
    database = await Database.open(postgres_url)
    async with database.read() as conn:
        settings = {
            name: (await conn.execute(text(f"SHOW {name}"))).scalar_one()
            for name in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout", "TimeZone")
        }
    await database.close()
    assert settings == {
        "idle_in_transaction_session_timeout": "30s",
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "TimeZone": "UTC",
    }


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u:p@127.0.0.1/x"])
async def test_a_database_that_would_lose_events_is_refused(url):
    with pytest.raises(Exception, match=r"SQLite needs a file|use sqlite|mysql|No module"):
        await Database.open(url)


async def test_an_address_may_name_the_driver_or_not(tmp_path):
    for scheme in ("sqlite", "sqlite+aiosqlite"):
        database = await Database.open(f"{scheme}:///{tmp_path}/{scheme}.db")
        assert database.dialect == "sqlite"
        await database.close()
    for scheme in ("postgresql", "postgresql+asyncpg"):
        assert (await Database.open(f"{scheme}://u:p@127.0.0.1:1/x")).dialect == "postgresql"
