"""Checks of a store before a service calls itself ready."""

from sqlalchemy import text

from spoel_common.store.database import Database

_SQLITE_TRIGGERS = frozenset({"events_no_update", "events_no_delete", "events_no_replace"})


async def check_append_only(database: Database) -> str | None:
    """Return why the database itself would let events be changed, or None where it refuses."""
    if database.dialect == "sqlite":
        return await _check_sqlite(database)
    return await _check_postgresql(database)


async def check_order(database: Database) -> str | None:
    """Return why new events could not be ordered behind the old ones, or None.

    After a restore into a new PostgreSQL cluster the transaction ids start anew, below those of the restored events,
    which then would never be read, and no aggregate of theirs could be appended to.
    """
    if database.dialect == "sqlite":
        return None
    query = text("""
        SELECT xid >= pg_snapshot_xmax(pg_current_snapshot()) FROM events
        ORDER BY xid DESC, position DESC LIMIT 1""")
    async with database.read() as conn:
        ahead = (await conn.execute(query)).scalar_one_or_none()
    if ahead:
        return "events carry transaction ids of another cluster: rewrite events.xid after the restore"
    return None


async def _check_sqlite(database: Database) -> str | None:
    query = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'")
    async with database.read() as conn:
        found = set((await conn.execute(query)).scalars())
    missing = sorted(_SQLITE_TRIGGERS - found)
    return f"table events lacks the triggers {', '.join(missing)}" if missing else None


async def _check_postgresql(database: Database) -> str | None:
    query = text("""
        SELECT tgenabled FROM pg_trigger
        WHERE tgrelid = to_regclass('events') AND tgname = 'events_append_only' AND NOT tgisinternal""")
    async with database.read() as conn:
        enabled = (await conn.execute(query)).scalar_one_or_none()
    if enabled is None:
        return "table events lacks the trigger events_append_only"
    state = enabled.decode() if isinstance(enabled, bytes) else enabled
    return None if state == "A" else f"trigger events_append_only is not ENABLE ALWAYS but {state!r}"
