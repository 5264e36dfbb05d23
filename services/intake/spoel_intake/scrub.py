"""Overwriting of what was deleted from the vault: a destroyed key must not be found in the database's files.

SQLite overwrites deleted rows in place (``secure_delete``), and what its write-ahead log still has goes with a
checkpoint that empties the log. PostgreSQL writes the vault anew without its dead rows; its write-ahead log, archives
and backups keep the old bytes until they are recycled.
"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from spoel_common.store import Database

_TIMEOUT_S = 10.0


async def scrub(database: Database) -> bool:
    """Overwrite what was deleted; return whether all of it is gone, or somebody who reads held it up.

    Raises:
        sqlalchemy.exc.DBAPIError, sqlite3.Error: the database failed; try again.
    """
    if database.path is not None:
        return await asyncio.to_thread(_empty_log, database.path)
    async with database.dedicated() as conn:
        await conn.execute(sa.text("VACUUM (FULL) vault"))
    return True


def _empty_log(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=_TIMEOUT_S)) as connection:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
