"""The services' event tables, read straight from their databases: to check them, and to see how far their time is."""

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from spoel_local.instance import StoreLocation
from spoel_local.postgres import connect

_ALL = "SELECT id, aggregate_type, aggregate_id, version, type, raw FROM events ORDER BY position"
_LAST = "SELECT raw FROM events ORDER BY position DESC LIMIT 1"
_TIMEOUT_S = 10

Rows = list[tuple[Any, ...]]


class StoredEvent(NamedTuple):
    """One row of a service's event table."""

    source: str
    id: str
    aggregate_type: str
    aggregate_id: str
    version: int
    type: str
    raw: bytes

    @property
    def aggregate(self) -> tuple[str, str, str]:
        """What its versions are counted within."""
        return self.source, self.aggregate_type, self.aggregate_id


async def read_events(site: str, stores: Iterable[StoreLocation]) -> list[StoredEvent]:
    """Return every event of every store, in each store's own order."""
    found: list[StoredEvent] = []
    for store in stores:
        source = f"/spoel/{site}/{store.service}/{store.store}"
        found += [StoredEvent(source, *row) for row in await _rows(store, _ALL)]
    return found


async def latest_moment(stores: Iterable[StoreLocation]) -> datetime | None:
    """Return the clock time of the last event of all stores, or None where there is none yet."""
    last = [row for store in stores for row in await _rows(store, _LAST)]
    return max((datetime.fromisoformat(json.loads(raw)["time"]) for (raw,) in last), default=None)


async def _rows(store: StoreLocation, query: str) -> Rows:
    """Return the rows of a query; none where the database has no table yet."""
    if store.url.startswith("sqlite"):
        return await asyncio.to_thread(_sqlite_rows, Path(store.url.removeprefix("sqlite:///")), query)
    connection = await connect(store)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    except asyncpg.UndefinedTableError:
        return []
    finally:
        await connection.close(timeout=_TIMEOUT_S)


def _sqlite_rows(path: Path, query: str) -> Rows:
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_TIMEOUT_S)
    try:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone() is None:
            return []
        return connection.execute(query).fetchall()
    finally:
        connection.close()
