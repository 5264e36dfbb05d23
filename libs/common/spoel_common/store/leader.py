"""One leader a task: an advisory lock of a PostgreSQL session, or a locked file next to a SQLite database.

Who loses it is told: its work is cancelled. A PostgreSQL session that ends is noticed at once; that of a process which
was stopped is ended by the server after ``_LEASE_S``, so that another can take over. Leadership is a convenience all
the same, not a proof: who was stopped notices only when it wakes. Whoever leads must be safe against a second leader by
other means (the relay by fencing, the consumer by a row lock).
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store.database import Database

_RETRY_S = 0.5
_LOOK_EVERY_S = 1.0
_ANSWER_TIMEOUT_S = 5.0
_LEASE_S = 10.0


class LeadershipLost(OSError):
    """The lock is gone: another process may lead by now."""


@asynccontextmanager
async def leadership(database: Database, task: str, signal: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Wait until this is the only holder of ``task`` in this database, and hold it for the block.

    Args:
        database: where all meet who may lead.
        task: what is led.
        signal: an event of this process that the leader waits for; set here while another process leads, it is
            cleared and set there (PostgreSQL only: a SQLite database has one process).

    Raises:
        LeadershipLost: the lock was lost during the block, which was cancelled.
        sqlalchemy.exc.DBAPIError, OSError: the database is away.
    """
    sqlite = database.dialect == "sqlite"
    lock = _locked_file(database, task) if sqlite else _locked_session(database, task, signal or asyncio.Event())
    async with lock as watch, _while_held(task, watch):
        yield


@asynccontextmanager
async def _while_held(task: str, watch: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Cancel the block when ``watch`` ends, in whichever way: it ends when the lock is lost."""
    block = asyncio.current_task()
    if block is None:
        raise RuntimeError("only a task can lead")
    before, lost, over = block.cancelling(), False, False

    def cancel_block(_: asyncio.Task[None]) -> None:
        nonlocal lost
        if not over:
            lost = True
            block.cancel()

    watching = asyncio.create_task(watch, name=f"watch:{task}")
    watching.add_done_callback(cancel_block)
    try:
        yield
    except (asyncio.CancelledError, Exception) as error:
        if lost and block.uncancel() <= before:
            raise LeadershipLost(f"the lock of {task} is lost") from error
        raise
    finally:
        over = True
        watching.cancel()
        await asyncio.wait({watching})


@asynccontextmanager
async def _locked_session(
    database: Database, task: str, signal: asyncio.Event
) -> AsyncIterator[Coroutine[None, None, None]]:
    digest = hashlib.sha256(f"spoel:{task}".encode()).digest()
    key, channel = int.from_bytes(digest[:8], signed=True), f"spoel_{digest.hex()[:16]}"
    async with database.dedicated() as conn:
        driver: Any = (await conn.get_raw_connection()).driver_connection
        ended = asyncio.Event()
        driver.add_termination_listener(lambda _: ended.set())
        lease = text("SELECT set_config('idle_session_timeout', :lease, false)")
        await conn.execute(lease, {"lease": f"{_LEASE_S * 1000:.0f}ms"})
        while not (await conn.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})).scalar_one():
            await _pass_on(conn, signal, channel)
        await driver.add_listener(channel, lambda *_: signal.set())
        yield _watch_session(conn, ended)


async def _pass_on(conn: AsyncConnection, signal: asyncio.Event, channel: str) -> None:
    """Wait a moment for the next attempt, less if there is something to tell the leader."""
    if await _is_set(signal, _RETRY_S):
        signal.clear()
        await conn.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})


async def _watch_session(conn: AsyncConnection, ended: asyncio.Event) -> None:
    """Return when the session has ended or does not answer; the questions keep it alive."""
    with suppress(SQLAlchemyError, OSError):
        while not await _is_set(ended, _LOOK_EVERY_S):
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await conn.execute(text("SELECT 1"))


async def _is_set(event: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await event.wait()
    except TimeoutError:
        return False


@asynccontextmanager
async def _locked_file(database: Database, task: str) -> AsyncIterator[Coroutine[None, None, None]]:
    if database.path is None:
        raise ValueError("a SQLite database has a file")
    name = hashlib.sha256(task.encode()).hexdigest()[:16]
    path = database.path.with_name(f"{database.path.name}.{name}.lock")
    descriptor = await _lock(path)
    try:
        yield _watch_file(path, descriptor)
    finally:
        os.close(descriptor)


async def _lock(path: Path) -> int:
    while True:
        descriptor = _try_lock(path)
        if descriptor is not None:
            return descriptor
        await asyncio.sleep(_RETRY_S)


def _try_lock(path: Path) -> int | None:
    """Return the descriptor of the locked file, or None where another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, descriptor):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


async def _watch_file(path: Path, descriptor: int) -> None:
    """Return when the locked file is no longer the one at ``path``: another process can lock that one."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        if not _is_at(path, descriptor):
            return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
