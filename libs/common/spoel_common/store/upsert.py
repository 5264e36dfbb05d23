"""Insert or overwrite rows, the same on SQLite and PostgreSQL. For read models; never for ``events``."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def upsert(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows; where the primary key is there already, overwrite the other columns that are given.

    Args:
        conn: a connection of ``database.write()``.
        table: with a primary key.
        rows: each with the same columns, the primary key's among them.
    """
    if not rows:
        return
    keys = [column.name for column in table.primary_key.columns]
    statement = sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)
    others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    if others:
        await conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=others), list(rows))
    else:
        await conn.execute(statement.on_conflict_do_nothing(index_elements=keys), list(rows))
