"""Attempts to change the log: the database refuses them, and separate code finds what gets past the database."""

import itertools
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from spoel_audit.readiness import find_fault
from spoel_audit.verify import check_event, recompute_root

COLUMNS = {"log_entry": "entry", "log_content": "salt", "log_index": "patient_id"}
ATTEMPTS = [
    "UPDATE {table} SET sequence = sequence + 100",
    "UPDATE {table} SET {column} = {column}",
    "UPDATE {table} SET {column} = NULL WHERE sequence = 1",
    "DELETE FROM {table}",
    "DELETE FROM {table} WHERE sequence = 2",
]


async def execute(log, statement):
    async with log.database.write() as conn:
        await conn.execute(text(statement))


async def contents(log):
    async with log.database.read() as conn:
        tables = [await conn.execute(text(f"SELECT * FROM {table} ORDER BY sequence")) for table in COLUMNS]
        return [[tuple(row) for row in rows] for rows in tables]


@pytest.mark.requirement("AU-04")
@pytest.mark.invariant("INV-10")
async def test_the_database_refuses_to_change_or_delete(log, new_feed):
    await log.append(new_feed("intake").events(3))
    before = await contents(log)
    for attempt, (table, column) in itertools.product(ATTEMPTS, COLUMNS.items()):
        with pytest.raises(DBAPIError, match="append-only"):
            await execute(log, attempt.format(table=table, column=column))
    assert await contents(log) == before


REPLACEMENTS = {
    "sqlite": [
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE sequence = 1",
        "INSERT OR IGNORE INTO {table} SELECT * FROM {table} WHERE sequence = 1",
        "REPLACE INTO {table} SELECT * FROM {table}",
        "INSERT INTO {table} SELECT * FROM {table} WHERE true ON CONFLICT DO UPDATE SET sequence = 9",
        "UPDATE OR REPLACE {table} SET sequence = 1 WHERE sequence = 2",
    ],
    "postgresql": [
        "TRUNCATE {table} CASCADE",
        "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (sequence) DO UPDATE SET sequence = 9",
    ],
}


@pytest.mark.requirement("AU-04")
@pytest.mark.invariant("INV-10")
async def test_the_database_refuses_to_replace_or_to_empty(log, new_feed):
    await log.append(new_feed("intake").events(3))
    before = await contents(log)
    for attempt, table in itertools.product(REPLACEMENTS[log.database.dialect], COLUMNS):
        with pytest.raises(DBAPIError, match=r"append-only|no gaps|each event once"):
            await execute(log, attempt.format(table=table))
    assert await contents(log) == before


@pytest.mark.requirement("AU-04")
async def test_an_entry_is_not_replaced_by_way_of_its_event_id(log, new_feed):
    await log.append(new_feed("intake").events(1))
    or_replace = "OR REPLACE" if log.database.dialect == "sqlite" else ""
    with pytest.raises(IntegrityError, match=r"each event once|duplicate key"):
        await execute(log, f"INSERT {or_replace} INTO log_entry SELECT 1, event_id, entry, leaf_hash FROM log_entry")


@pytest.mark.requirement("AU-07")
async def test_the_database_refuses_a_sequence_that_is_not_the_next(log, new_feed):
    await log.append(new_feed("intake").events(3))
    for sequence in (5, 4, 2, 0, -1):
        copied = f"SELECT {sequence}, 'other', entry, leaf_hash FROM log_entry WHERE sequence = 0"
        with pytest.raises(IntegrityError, match="no gaps"):
            await execute(log, f"INSERT INTO log_entry {copied}")


async def test_content_needs_an_entry(log):
    salt = {"sqlite": "zeroblob(32)", "postgresql": "sha256('')"}[log.database.dialect]
    with pytest.raises(IntegrityError):
        await execute(log, f"INSERT INTO log_content VALUES (0, {salt}, {salt})")


@pytest.mark.requirement("AU-07")
async def test_a_changed_tree_or_a_lost_guard_is_found_at_the_readiness_check(log, new_feed):
    await log.append(new_feed("intake").events(3))
    assert await find_fault(log.database) is None
    await execute(log, "UPDATE log_tree SET size = 2")
    assert "2 leaves, the log 3 entries" in await find_fault(log.database)
    await execute(log, "UPDATE log_tree SET size = 3")
    if log.database.dialect == "sqlite":
        await execute(log, "DROP TRIGGER log_entry_next")
    else:
        await execute(log, "ALTER TABLE log_entry DISABLE TRIGGER log_entry_next")
    assert "log_entry_next" in await find_fault(log.database)


FLIP = "UPDATE {table} SET {column} = CAST(replace({column}, '{old}', '{new}') AS BLOB) WHERE sequence = 2"
TAMPERINGS = {
    "bit of an entry": FLIP.format(table="log_entry", column="entry", old='"patient":"p', new='"patient":"q'),
    "bit of an event": FLIP.format(table="log_content", column="event_bytes", old='"pulses":40', new='"pulses":44'),
    "salt": "UPDATE log_content SET salt = zeroblob(32) WHERE sequence = 2",
    "last entry": "DELETE FROM log_entry WHERE sequence = 4",
    "order of entries": "UPDATE log_entry SET entry = (SELECT entry FROM log_entry AS other "
    "WHERE other.sequence = 3 - log_entry.sequence) WHERE sequence IN (1, 2)",
    "event with its entry": FLIP.format(table="log_content", column="event_bytes", old="tech-1", new="tech-2")
    + ";"
    + FLIP.format(table="log_entry", column="entry", old="tech-1", new="tech-2"),
}


@pytest.mark.requirement("AU-04")
@pytest.mark.invariant("INV-10")
@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_what_is_changed_in_the_file_itself_is_found_by_separate_code(sqlite_log, new_feed, tampering):
    """Whoever holds the file can drop its triggers; the tree's state still gives the root that was served before."""
    arrivals = new_feed("stimulation").events(5)
    await sqlite_log.append(arrivals)
    served = await sqlite_log.head()
    assert await is_intact(sqlite_log, served, arrivals)

    with closing(sqlite3.connect(sqlite_log.database.path)) as file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {name}")
        changed = file.executescript(TAMPERINGS[tampering])
        changed.close()
        assert file.total_changes > 0

    assert await sqlite_log.head() == served
    assert not await is_intact(sqlite_log, served, arrivals)


async def is_intact(log, served, arrivals):
    if recompute_root(await log.entries()) != served.root():
        return False
    kept = [await log.event(arrival.envelope.id) for arrival in arrivals]
    return all(check_event(event.entry, event.salt, event.event_bytes) for event in kept)
