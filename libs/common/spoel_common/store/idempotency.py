"""Answers to commands, kept so that a repeated command gets the same answer and acts only once."""

import hashlib
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store.schema import idempotency


class StoredAnswer(NamedTuple):
    """The answer that a command got.

    Attributes:
        body_hash: hash of the request's body, as the caller of ``keep`` computed it.
        status: HTTP status.
        body: the response's body.
        created_at: when it was kept (UTC).
    """

    body_hash: str
    status: int
    body: bytes
    created_at: datetime


_CLAIM = text("SELECT pg_try_advisory_xact_lock(:key)")


async def claim(conn: AsyncConnection, client: str, route: str, key: str) -> bool:
    """Keep every other process off this command until the transaction ends; False if another one is at it.

    SQLite has one writing transaction at a time, and one process.
    """
    if conn.dialect.name == "sqlite":
        return True
    named = f"{client}\n{route}\n{key}"
    number = int.from_bytes(hashlib.sha256(f"spoel:command:{named}".encode()).digest()[:8], signed=True)
    return bool((await conn.execute(_CLAIM, {"key": number})).scalar_one())


async def find(conn: AsyncConnection, client: str, route: str, key: str) -> StoredAnswer | None:
    """Return the answer kept for this client, route and key."""
    query = (
        select(idempotency.c.body_hash, idempotency.c.status, idempotency.c.response, idempotency.c.created_at)
        .where(idempotency.c.client == client)
        .where(idempotency.c.route == route)
        .where(idempotency.c.key == key)
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else StoredAnswer(row.body_hash, row.status, bytes(row.response), row.created_at)


async def keep(  # noqa: PLR0913 - one argument a column
    conn: AsyncConnection,
    client: str,
    route: str,
    key: str,
    *,
    body_hash: str,
    status: int,
    body: bytes,
    created_at: datetime,
) -> None:
    """Keep an answer, in the transaction of the command itself.

    Raises:
        sqlalchemy.exc.IntegrityError: a twin of the command was faster; roll back and ``find`` its answer.
    """
    values = {
        "client": client,
        "route": route,
        "key": key,
        "body_hash": body_hash,
        "status": status,
        "response": body,
        "created_at": created_at,
    }
    await conn.execute(insert(idempotency).values(values))


async def forget_before(conn: AsyncConnection, moment: datetime) -> int:
    """Delete the answers kept before ``moment``; return how many."""
    result = await conn.execute(delete(idempotency).where(idempotency.c.created_at < moment))
    return result.rowcount
