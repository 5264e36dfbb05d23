"""Snapshots of aggregates and the rows that archive them. Both are only a help to the reader: events are the truth."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store.names import AggregateRef
from spoel_common.store.schema import archived, snapshots
from spoel_common.store.upsert import upsert


class Snapshot(NamedTuple):
    """An aggregate's state at a version.

    Attributes:
        form: tells how ``state`` was written; another form is not read.
        state: bytes.
    """

    version: int
    form: int
    state: bytes


async def find(conn: AsyncConnection, ref: AggregateRef) -> Snapshot | None:
    """Return the aggregate's snapshot, if it has one."""
    query = (
        select(snapshots.c.version, snapshots.c.form, snapshots.c.state)
        .where(snapshots.c.aggregate_type == ref.type)
        .where(snapshots.c.aggregate_id == ref.id)
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else Snapshot(row.version, row.form, bytes(row.state))


async def keep(conn: AsyncConnection, ref: AggregateRef, snapshot: Snapshot, taken_at: datetime) -> None:
    """Keep a snapshot in place of the one before, in the transaction that appended the events up to it."""
    values = {
        "aggregate_type": ref.type,
        "aggregate_id": ref.id,
        **snapshot._asdict(),
        "taken_at": taken_at,
    }
    await upsert(conn, snapshots, [values])


async def archive(conn: AsyncConnection, ref: AggregateRef, version: int, archived_at: datetime) -> None:
    """Close an aggregate for good at ``version``: from now on the store refuses to append to it."""
    values = {"aggregate_type": ref.type, "aggregate_id": ref.id, "version": version, "archived_at": archived_at}
    await conn.execute(insert(archived).values(values))


async def archived_at(conn: AsyncConnection, ref: AggregateRef) -> datetime | None:
    """Return when the aggregate was archived; None if it was not."""
    query = (
        select(archived.c.archived_at)
        .where(archived.c.aggregate_type == ref.type)
        .where(archived.c.aggregate_id == ref.id)
    )
    return (await conn.execute(query)).scalar_one_or_none()
