"""What must hold of the log before the service calls itself ready."""

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_audit.queries import read_sizes
from spoel_common.store import Database

_GUARDED = ("log_entry", "log_content", "log_index")
_SQLITE_GUARDS = frozenset(
    {f"{table}_no_{what}" for table in _GUARDED for what in ("update", "delete", "replace")}
    | {"log_entry_next", "log_entry_once"}
)
_POSTGRESQL_GUARDS = frozenset({f"{table}_append_only" for table in _GUARDED} | {"log_entry_next"})

_SQLITE_TRIGGERS = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
_POSTGRESQL_TRIGGERS = text("""
    SELECT tgname FROM pg_trigger
    WHERE tgname IN :names AND tgenabled = 'A' AND NOT tgisinternal AND tgrelid IN
        (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)
""").bindparams(bindparam("names", expanding=True))


async def find_fault(database: Database) -> str | None:
    """Return why the log cannot be relied upon, or None. Reads a few rows, not the log: see ``spoel_audit.verify``."""
    async with database.read() as conn:
        missing = await _missing_guards(database, conn)
        if missing:
            return f"the database lacks, or does not always fire, the triggers {', '.join(missing)}: restore them"
        size, entries = await read_sizes(conn)
    if size != entries:
        return f"the tree has {size} leaves, the log {entries} entries: one of them was changed from outside"
    return None


async def _missing_guards(database: Database, conn: AsyncConnection) -> list[str]:
    if database.dialect == "sqlite":
        found = set((await conn.execute(_SQLITE_TRIGGERS)).scalars())
        return sorted(_SQLITE_GUARDS - found)
    found = set((await conn.execute(_POSTGRESQL_TRIGGERS, {"names": sorted(_POSTGRESQL_GUARDS)})).scalars())
    return sorted(_POSTGRESQL_GUARDS - found)
