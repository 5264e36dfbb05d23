"""Appending at once on PostgreSQL: one statement, one round trip, through the driver under SQLAlchemy.

The statement checks the expected versions, writes the events and keeps the answer; either all of it happens or
nothing. Its snapshot is older than its transaction id, so every event that it sees has a lower one: it cannot write
behind an aggregate's newest event in the store's order (see ``spoel_common.store.events``).
"""

from typing import Any

import asyncpg

from spoel_common.store.driver import as_sqlalchemy
from spoel_common.store.job import AnswerExists, Job, all_there, refusal, version_conflict
from spoel_common.store.names import AggregateRef

POOL_SIZE = 8
_CONNECT_TIMEOUT_S = 10.0
_TIMEOUT_S = 30.0

# EXISTS in place of count(*) is planned as a hash of the whole table of archived aggregates.
_APPEND = """
    WITH misfit AS MATERIALIZED (
        SELECT 1 FROM unnest($1::text[], $2::text[], $3::bigint[]) AS head (type, id, expected)
        WHERE expected <> coalesce((
            SELECT version FROM events WHERE aggregate_type = head.type AND aggregate_id = head.id
            ORDER BY version DESC LIMIT 1), 0)
        OR (SELECT count(*) FROM archived WHERE aggregate_type = head.type AND aggregate_id = head.id) > 0
    ), written AS (
        INSERT INTO events (id, aggregate_type, aggregate_id, version, type, raw)
        SELECT * FROM unnest($4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::bytea[])
        WHERE NOT EXISTS (SELECT 1 FROM misfit)
        RETURNING xid, position
    )
"""
_LAST_WRITTEN = "SELECT xid, position FROM written ORDER BY position DESC LIMIT 1"
_KEPT = """, kept AS (
        INSERT INTO idempotency (client, route, key, body_hash, status, response, created_at)
        SELECT $10, $11, $12, $13, $14::integer, $15::bytea, $16::timestamptz WHERE NOT EXISTS (SELECT 1 FROM misfit)
    )
"""
_APPEND_ONLY = _APPEND + _LAST_WRITTEN
_APPEND_AND_KEEP = _APPEND + _KEPT + _LAST_WRITTEN
_KEEP = """
    INSERT INTO idempotency (client, route, key, body_hash, status, response, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)"""
_ANSWERED = "SELECT 1 FROM idempotency WHERE client = $1 AND route = $2 AND key = $3"
_FOUND = "SELECT id, raw, xid, position FROM events WHERE id = ANY($1::text[]) ORDER BY position"
_HEADS = """
    SELECT head.type, head.id,
        coalesce((SELECT max(version) FROM events WHERE aggregate_type = head.type AND aggregate_id = head.id), 0),
        EXISTS (SELECT 1 FROM archived WHERE aggregate_type = head.type AND aggregate_id = head.id)
    FROM unnest($1::text[], $2::text[]) AS head (type, id)"""


class PostgresAppender:
    """Appends jobs, each in a transaction of its own, on a few connections of its own.

    Args:
        dsn: of the database, for the driver.
        session: settings of each connection.
    """

    def __init__(self, dsn: str, session: dict[str, str]) -> None:
        self._dsn = dsn
        self._session = session
        self._pool: asyncpg.Pool | None = None

    async def append(self, job: Job) -> tuple[int, int]:
        """Store a job; return ``(xid, position)`` of its last event once it is durable.

        Raises:
            VersionConflict, AggregateArchived, AnswerExists: refused; nothing of the job is stored.
            sqlalchemy.exc.DBAPIError: the database failed; where the connection was lost, the job may be stored.
            OSError: no connection; nothing was sent.
        """
        try:
            pool = self._pool or await self._connect()
            async with pool.acquire(timeout=_TIMEOUT_S) as conn:
                return await _append(conn, job)
        except (asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            raise as_sqlalchemy(error) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.close()

    async def _connect(self) -> asyncpg.Pool:
        pool = asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=POOL_SIZE,
            timeout=_CONNECT_TIMEOUT_S,
            command_timeout=_TIMEOUT_S,
            server_settings=self._session,
            reset=_keep_as_is,
        )
        self._pool = pool
        return await pool


async def _keep_as_is(_conn: asyncpg.Connection) -> None:
    """Save the round trip of a reset: nothing here changes a session."""


async def _append(conn: asyncpg.Connection, job: Job) -> tuple[int, int]:
    statement = _APPEND_ONLY if job.answer is None else _APPEND_AND_KEEP
    kinds, ids, expected = zip(*job.heads, strict=True)
    columns: list[Any] = list(zip(*job.rows, strict=True))
    try:
        written = await conn.fetchrow(statement, kinds, ids, expected, *columns, *(job.answer or ()))
    except asyncpg.UniqueViolationError:
        written = None
    return (written["xid"], written["position"]) if written is not None else await _explain(conn, job)


async def _explain(conn: asyncpg.Connection, job: Job) -> tuple[int, int]:
    """Return the place of a job that is there already, or refuse it."""
    if job.answer is not None and await conn.fetchrow(_ANSWERED, *job.answer[:3]):
        raise AnswerExists
    stored = await conn.fetch(_FOUND, [row.id for row in job.rows])
    found = {row["id"]: row["raw"] for row in stored}
    if all_there(job.rows, found):
        if job.answer is not None:
            await conn.execute(_KEEP, *job.answer)
        return stored[-1]["xid"], stored[-1]["position"]
    kinds, ids, _ = zip(*job.heads, strict=True)
    heads = [tuple(row) for row in await conn.fetch(_HEADS, kinds, ids)]
    versions = {AggregateRef(kind, aggregate_id): version for kind, aggregate_id, version, _ in heads}
    archived = {AggregateRef(kind, aggregate_id) for kind, aggregate_id, _, is_archived in heads if is_archived}
    faster = version_conflict(AggregateRef(*job.heads[0][:2]), "another request changed it at the same time")
    raise refusal(job, found, versions, archived) or faster
