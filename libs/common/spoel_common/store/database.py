"""One database, SQLite or PostgreSQL, behind one small door: a write transaction, a read transaction.

SQLite (a room's journal, and the embedded default): write-ahead log, ``synchronous=FULL``, one pooled writer whose
transactions begin with ``BEGIN IMMEDIATE`` (a transaction that reads first and writes later would otherwise fail
under concurrency whatever the busy time-out), taking turns with the hot path of appending, and an engine of its own
for reads, so that reads never take the write lock. PostgreSQL: a pool; sessions that idle inside a transaction are
ended, for they would hold back the horizon behind which events are read.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal, Self

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from spoel_common.cancellation import keeping_cancellation
from spoel_common.store.append_postgres import PostgresAppender
from spoel_common.store.append_sqlite import SqliteAppender

Dialect = Literal["sqlite", "postgresql"]

BUSY_TIMEOUT_S = 10.0
"""How long a SQLite writer of another process is waited for."""

_OVERWRITE_DELETED = "PRAGMA secure_delete=ON"
"""What is deleted is overwritten with zeros in the file: a destroyed key must not be found in it."""
TURN_TIMEOUT_S = 30.0
"""How long a writer of this process waits for the others."""

_GIVE_BACK_S = 1.0
_SQLITE_READERS = 4
_POSTGRES_POOL = 10
_POSTGRES_SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
}


class _RollsBack(sqlite3.Connection):
    """A connection that ends its transaction when it is closed.

    SQLite keeps a closed connection, its write lock included, for as long as a cursor on it lives: in the traceback of
    a cancelled task that can be long.
    """

    def close(self) -> None:
        if self.in_transaction:
            self.rollback()
        super().close()


class Database:
    """An open database. ``open`` makes one; ``close`` ends its connections.

    Attributes:
        dialect: ``sqlite`` or ``postgresql``.
        path: the file of a SQLite database, None for PostgreSQL.
        url: where it is, with the password if there is one.
        appender: the hot path of appending; see ``EventStore.append_now``.
    """

    def __init__(
        self,
        dialect: Dialect,
        engines: tuple[AsyncEngine, AsyncEngine, AsyncEngine],
        appender: SqliteAppender | PostgresAppender,
        url: URL,
        path: Path | None = None,
        turn: asyncio.Lock | None = None,
    ) -> None:
        self.dialect: Dialect = dialect
        self.path = path
        self.url = url
        self.appender = appender
        self._writer, self._reader, self._dedicated = engines
        self._turn = turn
        self._after_commit: dict[AsyncConnection, list[Callable[[], None]]] = {}

    @classmethod
    async def open(cls, url: str | URL, schema: str | None = None) -> Self:
        """Open ``sqlite:///path`` or ``postgresql://…`` (a driver named in the URL is replaced by ours).

        Nothing is connected yet, but the folder of a SQLite file is made.

        Args:
            url: where the database is.
            schema: PostgreSQL only: the one schema whose tables are seen; that of the role if None.

        Raises:
            ValueError: neither of the two, or SQLite without a file.
        """
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            return cls._open_sqlite(parsed)
        if backend == "postgresql":
            return cls._open_postgresql(parsed, schema)
        raise ValueError(f"Database URL of {backend!r}; use sqlite:///path or postgresql://…")

    @classmethod
    def _open_sqlite(cls, url: URL) -> Self:
        if not url.database or url.database == ":memory:":
            raise ValueError("SQLite needs a file: sqlite:///path/to/file.db; events in memory would be lost")
        path = Path(url.database)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = url.set(drivername="sqlite+aiosqlite")
        options = {"timeout": BUSY_TIMEOUT_S, "factory": _RollsBack}
        # an error never repeats the values of a statement: they may be a patient's
        writer = create_async_engine(
            url, hide_parameters=True, pool_size=1, max_overflow=0, pool_timeout=30, connect_args=options
        )
        reader = create_async_engine(
            url, hide_parameters=True, pool_size=_SQLITE_READERS, max_overflow=0, connect_args=options
        )
        _on_connect(
            writer, "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON", _OVERWRITE_DELETED
        )
        _on_connect(reader, "PRAGMA query_only=ON")
        _on_begin(writer, "BEGIN IMMEDIATE")
        _on_begin(reader, "BEGIN")
        turn = asyncio.Lock()
        return cls(
            "sqlite",
            (writer, reader, reader),
            SqliteAppender(path, partial(_held, turn), BUSY_TIMEOUT_S),
            url,
            path,
            turn,
        )

    @classmethod
    def _open_postgresql(cls, url: URL, schema: str | None) -> Self:
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        url = url.set(drivername="postgresql+asyncpg")
        session = _POSTGRES_SESSION if schema is None else {**_POSTGRES_SESSION, "search_path": schema}
        options = {"server_settings": session, "timeout": 10, "command_timeout": 60}
        writer = create_async_engine(url, hide_parameters=True, pool_size=_POSTGRES_POOL, connect_args=options)
        reader = writer.execution_options(postgresql_readonly=True)
        dedicated = create_async_engine(
            url, hide_parameters=True, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=options
        )
        return cls("postgresql", (writer, reader, dedicated), PostgresAppender(dsn, session), url)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open one write transaction: committed at the end of the block, rolled back on any exception."""
        callbacks: list[Callable[[], None]] = []
        async with keeping_cancellation() as check_cancelled:
            async with self._my_turn(), self._writer.begin() as conn:
                check_cancelled()
                self._after_commit[conn] = callbacks
                try:
                    yield conn
                finally:
                    del self._after_commit[conn]
                check_cancelled()
            for callback in callbacks:
                callback()

    def _my_turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for the other writers of this process: SQLite's own waiting polls, and is not fair."""
        return nullcontext() if self._turn is None else _held(self._turn)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open one read transaction; it cannot write."""
        async with keeping_cancellation() as check_cancelled, self._reader.connect() as conn:
            check_cancelled()
            yield conn

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection outside the pool, in autocommit: for a session's advisory locks (PostgreSQL only)."""
        async with keeping_cancellation() as check_cancelled, self._dedicated.connect() as conn:
            check_cancelled()
            yield conn

    def after_commit(self, conn: AsyncConnection, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the transaction of ``conn`` is committed, and not if it is rolled back."""
        callbacks = self._after_commit[conn]
        if callback not in callbacks:
            callbacks.append(callback)

    async def close(self) -> None:
        """Close every connection; those that cancelled tasks are giving back are waited for: they would stay open."""
        until_s = time.monotonic() + _GIVE_BACK_S
        while any(_in_use(engine) for engine in (self._writer, self._reader)) and time.monotonic() < until_s:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.005)
        await self.appender.close()
        await self._writer.dispose()
        await self._reader.dispose()
        await self._dedicated.dispose()


@asynccontextmanager
async def _held(turn: asyncio.Lock) -> AsyncIterator[None]:
    """Hold the turn.

    Raises:
        sqlalchemy.exc.TimeoutError: the writers before did not come to an end.
    """
    try:
        async with asyncio.timeout(TURN_TIMEOUT_S):
            await turn.acquire()
    except TimeoutError as error:
        raise PoolTimeout(f"the database was busy for {TURN_TIMEOUT_S:g} s") from error
    try:
        yield
    finally:
        turn.release()


def _in_use(engine: AsyncEngine) -> int:
    pool = engine.pool
    return pool.checkedout() if isinstance(pool, QueuePool) else 0


def _on_connect(engine: AsyncEngine, *pragmas: str) -> None:
    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: the begin hook does
        try:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(pragma)
            cursor.close()
        except BaseException:
            connection.close()  # cancelled meanwhile: the pool forgets it, and it would stay open
            raise

    event.listen(engine.sync_engine, "connect", connected)


def _on_begin(engine: AsyncEngine, statement: str) -> None:
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(statement))
