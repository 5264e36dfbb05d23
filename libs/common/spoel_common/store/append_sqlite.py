"""Appending at once on SQLite: the bare driver in a thread of its own, many callers in one commit.

A commit waits for the disk. While one does, the next callers queue; they then share a transaction. If one of them
does not fit, the transaction is rolled back and done again with a savepoint around each, so that it fails alone: a
savepoint copies every page that is touched, which takes as long as the writing itself. Nobody is answered before the
commit.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoel_common.errors import SpoelError
from spoel_common.events.model import format_utc
from spoel_common.store.driver import as_sqlalchemy
from spoel_common.store.job import AnswerExists, Job, NewAnswer, all_there, refusal
from spoel_common.store.names import AggregateRef

MAX_JOBS_A_COMMIT = 256

_INSERT = "INSERT INTO events (id, aggregate_type, aggregate_id, version, type, raw) VALUES (?, ?, ?, ?, ?, ?)"
_KEEP = (
    "INSERT INTO idempotency (client, route, key, body_hash, status, response, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_STANDS = """
    SELECT EXISTS (SELECT 1 FROM events WHERE aggregate_type = ?1 AND aggregate_id = ?2 AND version = ?3)
       AND NOT EXISTS (SELECT 1 FROM archived WHERE aggregate_type = ?1 AND aggregate_id = ?2)"""
_ANSWERED = "SELECT 1 FROM idempotency WHERE client = ? AND route = ? AND key = ?"
_VERSION = "SELECT coalesce(max(version), 0) FROM events WHERE aggregate_type = ? AND aggregate_id = ?"
_ARCHIVED = "SELECT 1 FROM archived WHERE aggregate_type = ? AND aggregate_id = ?"

Outcome = int | SpoelError | AnswerExists
"""Position of a job's last event, or why it was refused."""

Waiting = tuple[Job, "asyncio.Future[int]"]
MyTurn = Callable[[], AbstractAsyncContextManager[None]]


class SqliteAppender:
    """Commits jobs on a SQLite file, as many at once as wait.

    Args:
        path: the file.
        my_turn: waits, for a limited time, until no other transaction of this process writes to the file.
        busy_timeout_s: how long a writer of another process is waited for.
    """

    def __init__(self, path: Path, my_turn: MyTurn, busy_timeout_s: float) -> None:
        self._path = path
        self._my_turn = my_turn
        self._busy_timeout_s = busy_timeout_s
        self._thread = _thread()
        self._conn: sqlite3.Connection | None = None
        self._waiting: list[Waiting] = []
        self._draining: asyncio.Task[None] | None = None

    async def append(self, job: Job) -> tuple[int, int]:
        """Store a job; return ``(0, position)`` of its last event once it is durable.

        A caller that is cancelled does not take its job back: it may be stored.

        Raises:
            VersionConflict, AggregateArchived, AnswerExists: refused; nothing of the job is stored.
            sqlalchemy.exc.DBAPIError: the database failed; nothing of the job is stored.
            sqlalchemy.exc.TimeoutError: the writers before did not come to an end; nothing of the job is stored.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, done))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="group-commit")
        return 0, await done

    async def close(self) -> None:
        """Finish what waits, close the connection and end the thread; the next call would open others."""
        if self._draining is not None:
            await self._draining
        if self._conn is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()
        self._thread = _thread()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                try:
                    async with self._my_turn():
                        taken = self._take()
                        _tell(taken, await self._outcomes([job for job, _ in taken]))
                except PoolTimeout as error:  # not our turn in time
                    taken = self._take()
                    _tell(taken, [error] * len(taken))
        finally:
            self._draining = None

    def _take(self) -> list[Waiting]:
        taken = self._waiting[:MAX_JOBS_A_COMMIT]
        del self._waiting[:MAX_JOBS_A_COMMIT]
        return taken

    async def _outcomes(self, jobs: list[Job]) -> Sequence[int | Exception]:
        """Commit jobs; whatever goes wrong is every caller's answer: none may wait for ever."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, jobs)
        except sqlite3.Error as error:
            return [as_sqlalchemy(error)] * len(jobs)
        except Exception as error:  # noqa: BLE001 - it is handed on to those who asked
            return [error] * len(jobs)

    # --- in the thread

    def _commit(self, jobs: list[Job]) -> list[Outcome]:
        conn = self._conn or self._connect()
        try:
            conn.execute("BEGIN IMMEDIATE")
            outcomes = _write_all(conn, jobs)
            if outcomes is None:
                conn.execute("ROLLBACK")
                conn.execute("BEGIN IMMEDIATE")
                outcomes = [_take_alone(conn, job) for job in jobs]
            conn.execute("COMMIT")
        except BaseException:
            self._disconnect()  # which rolls back, whatever state the connection is in
            raise
        return outcomes

    def _connect(self) -> sqlite3.Connection:
        conn = sqlite3.connect(self._path, timeout=self._busy_timeout_s, isolation_level=None)
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("PRAGMA synchronous=FULL")
        conn.execute("PRAGMA temp_store=MEMORY")  # for the pages that a savepoint copies
        self._conn = conn
        return conn

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
        self._conn = None


def _thread() -> ThreadPoolExecutor:
    """Return an executor of one thread, which begins with the first call."""
    return ThreadPoolExecutor(1, thread_name_prefix="append")


def _tell(taken: Sequence[Waiting], outcomes: Sequence[int | Exception]) -> None:
    for (_, done), outcome in zip(taken, outcomes, strict=True):
        if done.done():
            continue  # its caller was cancelled
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)


def _write_all(conn: sqlite3.Connection, jobs: list[Job]) -> list[Outcome] | None:
    """Write jobs; None where one of them does not fit, with some of them written."""
    positions: list[Outcome] = []
    for job in jobs:
        written = _write(conn, job)
        if not isinstance(written, int):
            return None
        positions.append(written)
    return positions


def _take_alone(conn: sqlite3.Connection, job: Job) -> Outcome:
    conn.execute("SAVEPOINT job")
    written = _write(conn, job)
    if isinstance(written, int):
        conn.execute("RELEASE job")
        return written
    conn.execute("ROLLBACK TO job")
    outcome = _explain(conn, job)
    conn.execute("RELEASE job")
    if outcome is None:
        raise written or sqlite3.IntegrityError(f"nothing speaks against {job.heads}, and it does not fit")
    return outcome


def _write(conn: sqlite3.Connection, job: Job) -> int | sqlite3.IntegrityError | None:
    """Write a job and return its position; where it does not fit, why as far as known, with some of it written."""
    for head in job.heads:
        if head[2] > 0 and not conn.execute(_STANDS, head).fetchone()[0]:
            return None
    try:
        conn.executemany(_INSERT, job.rows)
        position: int = conn.execute("SELECT last_insert_rowid()").fetchone()[0]
        if job.answer is not None:
            conn.execute(_KEEP, _texts(job.answer))
    except sqlite3.IntegrityError as error:
        return error
    return position


def _texts(answer: NewAnswer) -> NewAnswer | tuple[object, ...]:
    return (*answer[:-1], format_utc(answer.created_at))


def _explain(conn: sqlite3.Connection, job: Job) -> Outcome | None:
    if job.answer is not None and conn.execute(_ANSWERED, job.answer[:3]).fetchone():
        return AnswerExists()
    found, position = {}, 0
    for row in job.rows:
        stored = conn.execute("SELECT position, raw FROM events WHERE id = ?", (row.id,)).fetchone()
        if stored is not None:
            position, found[row.id] = stored
    if all_there(job.rows, found):
        if job.answer is not None:
            conn.execute(_KEEP, _texts(job.answer))
        return position
    refs = [AggregateRef(kind, aggregate_id) for kind, aggregate_id, _ in job.heads]
    versions = {ref: conn.execute(_VERSION, ref).fetchone()[0] for ref in refs}
    archived = {ref for ref in refs if conn.execute(_ARCHIVED, ref).fetchone()}
    return refusal(job, found, versions, archived)
