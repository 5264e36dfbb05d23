"""The database itself refuses to change, remove or replace events (INV-3), whoever asks and however."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from spoel_common.store import check_append_only

pytestmark = pytest.mark.invariant("INV-3")

INSERT = "INTO events (id, aggregate_type, aggregate_id, version, type, raw) VALUES"
ROW = "('e9', 'counter', 'a', 9, 't', 'forged')"
SAME_ID = "(:id, 'counter', 'z', 1, 't', 'forged')"
SAME_VERSION = "('e9', 'counter', 'a', 1, 't', 'forged')"
VERSION_KEY = "(aggregate_type, aggregate_id, version)"
OVERWRITE = "DO UPDATE SET raw = 'forged'"

REFUSED = {
    "update": "UPDATE events SET raw = 'forged'",
    "update of one": "UPDATE events SET raw = 'forged' WHERE id = :id",
    "delete": "DELETE FROM events",
    "delete of one": "DELETE FROM events WHERE id = :id",
    "insert of the same id": f"INSERT {INSERT} {SAME_ID}",
    "insert of the same version": f"INSERT {INSERT} {SAME_VERSION}",
    "upsert by id": f"INSERT {INSERT} {SAME_ID} ON CONFLICT (id) {OVERWRITE}",
    "upsert by version": f"INSERT {INSERT} {SAME_VERSION} ON CONFLICT {VERSION_KEY} {OVERWRITE}",
}
SQLITE_REFUSED = {
    "replace by id": f"REPLACE {INSERT} {SAME_ID}",
    "replace by version": f"INSERT OR REPLACE {INSERT} {SAME_VERSION}",
    "replace by position": "INSERT OR REPLACE INTO events VALUES (1, 0, 'e9', 'counter', 'z', 1, 't', 'forged')",
    "or ignore by id": f"INSERT OR IGNORE {INSERT} {SAME_ID}",
    "or ignore by version": f"INSERT OR IGNORE {INSERT} {SAME_VERSION}",
    "update or replace": "UPDATE OR REPLACE events SET id = 'e9'",
    "upsert that does nothing": f"INSERT {INSERT} {SAME_ID} ON CONFLICT DO NOTHING",
    "upsert that updates any conflict": f"INSERT {INSERT} {SAME_ID} ON CONFLICT {OVERWRITE}",
}
POSTGRES_REFUSED = {
    "update of none": "UPDATE events SET raw = 'forged' WHERE false",
    "truncate": "TRUNCATE events",
    "truncate cascade": "TRUNCATE events CASCADE",
    "merge": "MERGE INTO events USING (SELECT 1) AS one ON id = :id WHEN MATCHED THEN UPDATE SET raw = 'forged'",
    "merge that deletes": "MERGE INTO events USING (SELECT 1) AS one ON id = :id WHEN MATCHED THEN DELETE",
    "update with two": "WITH changed AS (UPDATE events SET raw = 'forged' RETURNING 1) SELECT count(*) FROM changed",
}


async def rows_of(shop) -> list[tuple[object, ...]]:
    async with shop.database.read() as conn:
        return [tuple(row) for row in await conn.execute(text("SELECT * FROM events ORDER BY position"))]


async def check_refused(shop, statement: str) -> None:
    first = shop.envelope("a", 1)
    await shop.append("a", 0, first, shop.envelope("a", 2))
    before = await rows_of(shop)

    with pytest.raises(DBAPIError):
        async with shop.database.write() as conn:
            await conn.execute(text(statement), {"id": first.id} if ":id" in statement else {})

    assert await rows_of(shop) == before


@pytest.mark.parametrize("how", REFUSED)
async def test_an_event_is_not_changed_on_either_database(shop, how):
    await check_refused(shop, REFUSED[how])


@pytest.mark.parametrize("how", SQLITE_REFUSED)
async def test_an_event_is_not_replaced_on_sqlite(sqlite_shop, how):
    await check_refused(sqlite_shop, SQLITE_REFUSED[how])


@pytest.mark.parametrize("how", POSTGRES_REFUSED)
async def test_an_event_is_not_changed_on_postgresql(postgres_shop, how):
    await check_refused(postgres_shop, POSTGRES_REFUSED[how])


async def test_a_replicating_session_does_not_change_events_either(postgres_shop):
    """Ordinary triggers do not fire for ``session_replication_role = replica``; this one is ENABLE ALWAYS."""
    await postgres_shop.append("a", 0, postgres_shop.envelope("a", 1))

    async def delete_as_a_replica_would() -> None:
        async with postgres_shop.database.write() as conn:
            await conn.execute(text("SET LOCAL session_replication_role = replica"))
            await conn.execute(text("DELETE FROM events"))

    with pytest.raises(DBAPIError, match="append-only: no DELETE"):
        await delete_as_a_replica_would()
    assert await postgres_shop.store.count() == 1


async def test_a_new_event_is_taken_all_the_same(shop):
    await shop.append("a", 0, shop.envelope("a", 1))
    async with shop.database.write() as conn:
        await conn.execute(text(f"INSERT {INSERT} {ROW}"))
    assert await shop.store.count() == 2


@pytest.mark.parametrize("trigger", ["events_no_update", "events_no_delete", "events_no_replace"])
async def test_a_missing_trigger_is_noticed_on_sqlite(sqlite_shop, trigger):
    assert await check_append_only(sqlite_shop.database) is None

    async with sqlite_shop.database.write() as conn:
        await conn.execute(text(f"DROP TRIGGER {trigger}"))

    assert trigger in str(await check_append_only(sqlite_shop.database))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DROP TRIGGER events_append_only ON events", "lacks"),
        ("ALTER TABLE events DISABLE TRIGGER events_append_only", "not ENABLE ALWAYS"),
        ("ALTER TABLE events ENABLE TRIGGER events_append_only", "not ENABLE ALWAYS"),
    ],
)
async def test_a_missing_or_weaker_trigger_is_noticed_on_postgresql(postgres_shop, statement, told):
    assert await check_append_only(postgres_shop.database) is None

    async with postgres_shop.database.write() as conn:
        await conn.execute(text(statement))

    assert told in str(await check_append_only(postgres_shop.database))
