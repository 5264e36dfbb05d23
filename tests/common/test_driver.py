"""Statements on the driver under a connection: part of its transaction, types and errors as SQLAlchemy's."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, MetaData, String, Table, select
from sqlalchemy.exc import DBAPIError

from spoel_common.messaging.broker import _Client
from spoel_common.messaging.faults import is_machinery
from spoel_common.store import upsert
from spoel_common.store.driver import Driver
from spoel_common.store.schema import BigInt, UtcDateTime, serving

NOTES = Table(
    "notes",
    MetaData(),
    Column("id", String, primary_key=True),
    Column("at", UtcDateTime, nullable=True),
    Column("count", BigInt, nullable=False),
)
AT = datetime(2026, 11, 25, 12, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
async def notes(database):
    async with database.write() as conn:
        await conn.run_sync(NOTES.metadata.create_all)
    return database


async def rows(database) -> list[tuple[object, ...]]:
    async with database.read() as conn:
        return [tuple(row) for row in await conn.execute(select(NOTES).order_by(NOTES.c.id))]


async def test_rows_are_inserted_or_overwritten_with_their_types(notes):
    async with notes.write() as conn:
        await upsert(conn, NOTES, [{"id": "a", "at": AT, "count": 1}, {"id": "b", "at": None, "count": 2}])
        await upsert(conn, NOTES, [{"id": "a", "count": 3}])
        await upsert(conn, NOTES, [])
        await upsert(conn, NOTES, [{"id": "b", "count": 4}, {"id": "c", "count": 5}, {"id": "b", "count": 6}])
    assert await rows(notes) == [("a", AT, 3), ("b", None, 6), ("c", None, 5)]


async def test_a_moment_without_a_zone_is_refused(notes):
    async with notes.write() as conn:
        with pytest.raises(ValueError, match="no time zone"):
            await upsert(conn, NOTES, [{"id": "a", "at": AT.replace(tzinfo=None), "count": 1}])


async def test_a_statement_of_the_driver_is_rolled_back_with_its_transaction_also_if_it_is_the_first(notes):
    async def fail() -> None:
        async with notes.write() as conn:
            await upsert(conn, NOTES, [{"id": "a", "at": AT, "count": 1}])
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await fail()
    assert await rows(notes) == []


async def test_a_refused_value_is_the_events_fault(notes):
    async def refused() -> None:
        async with notes.write() as conn:
            await upsert(conn, NOTES, [{"id": "a", "at": AT, "count": None}])

    with pytest.raises(DBAPIError) as error:
        await refused()
    assert not is_machinery(error.value)


async def test_a_lost_connection_is_not_the_events_fault(open_database, new_postgres):
    database = await open_database(new_postgres())

    async def lose() -> None:
        async with database.write() as conn:
            driver = await Driver.under(conn)
            await (await conn.get_raw_connection()).driver_connection.close()
            await driver.fetch("SELECT 1")

    with pytest.raises(DBAPIError) as error:
        await lose()
    assert is_machinery(error.value)


async def test_a_connection_that_is_given_up_in_mid_query_holds_no_lock_on_sqlite(open_database, new_sqlite):
    database = await open_database(new_sqlite())
    kept = []

    async def give_up() -> None:
        async with database.write() as conn:
            driver_connection = (await conn.get_raw_connection()).driver_connection
            kept.append(await driver_connection.execute("VALUES (1), (2)"))
            await conn.invalidate()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await give_up()
    async with database.write() as conn:
        await upsert(conn, serving, [{"projection": "p", "projection_version": 1, "since": AT}])


@pytest.mark.parametrize(
    "raw", [b"Nats-Msg-Id: x:y\r\nSpoel-Xid:7\r\n\r\n", b"", b"Bad Name: 1\r\nno colon\r\nA:\t b \r\n"]
)
def test_headers_are_read_as_the_client_library_reads_them(raw):
    assert _Client._parse_header_lines(raw) == super(_Client, _Client)._parse_header_lines(raw)
