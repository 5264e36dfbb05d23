"""One leader a task: an advisory lock of a PostgreSQL session, or a locked file next to a SQLite database.

Leadership is a convenience, not a proof: a leader may lose its session, or be stopped for minutes, without noticing.
Whoever leads must be safe against a second leader by other means (the relay by fencing, the consumer by a row lock).
"""

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store.database import Database

_RETRY_S = 0.5
_VERIFY_EVERY_S = 2.0


class Leadership:
    """Held leadership of one task."""

    def __init__(self, conn: AsyncConnection | None) -> None:
        self._conn = conn
        self._verified_s = time.monotonic()

    async def verify(self) -> None:
        """Ask the session that holds the lock whether it still lives, at most every two seconds.

        Raises:
            sqlalchemy.exc.DBAPIError: the session is gone, and the lock with it.
        """
        if self._conn is None or time.monotonic() - self._verified_s < _VERIFY_EVERY_S:
            return
        await self._conn.execute(text("SELECT 1"))
        self._verified_s = time.monotonic()


@asynccontextmanager
async def leadership(database: Database, task: str) -> AsyncIterator[Leadership]:
    """Wait until this is the only holder of ``task`` in this database, and hold it for the block."""
    if database.dialect == "sqlite":
        async with _file_lock(database, task):
            yield Leadership(None)
    else:
        async with database.dedicated() as conn:
            await _advisory_lock(conn, task)
            yield Leadership(conn)


async def _advisory_lock(conn: AsyncConnection, task: str) -> None:
    key = int.from_bytes(hashlib.sha256(f"spoel:{task}".encode()).digest()[:8], signed=True)
    query = text("SELECT pg_try_advisory_lock(:key)")
    while True:
        if (await conn.execute(query, {"key": key})).scalar_one():
            return
        await asyncio.sleep(_RETRY_S)


@asynccontextmanager
async def _file_lock(database: Database, task: str) -> AsyncIterator[None]:
    if database.path is None:
        raise ValueError("a SQLite database has a file")
    name = hashlib.sha256(task.encode()).hexdigest()[:16]
    path = database.path.with_name(f"{database.path.name}.{name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


async def _lock(descriptor: int) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_RETRY_S)
        else:
            return
