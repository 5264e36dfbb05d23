"""How far each aggregate of a feed is applied to a projection: its last version and the latest events' hashes."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store import AggregateRef
from spoel_common.store.driver import Driver

HASHES_KEPT = 16

FeedKey = tuple[str, int, str]
"""Projection, its version, source."""

_LOAD = {
    "sqlite": """
        SELECT aggregate_type, aggregate_id, last_version, hashes, CAST(NULL AS BOOLEAN) FROM inbox
        WHERE projection = ?1 AND projection_version = ?2 AND source = ?3
          AND (aggregate_type, aggregate_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?4))""",
    "postgresql": """
        SELECT kind, name, last_version, hashes, CAST(NULL AS BOOLEAN)
        FROM unnest(?4::text[], ?5::text[]) AS wanted (kind, name), LATERAL (
            SELECT last_version, hashes FROM inbox
            WHERE projection = ?1 AND projection_version = ?2 AND source = ?3
              AND aggregate_type = wanted.kind AND aggregate_id = wanted.name OFFSET 0) AS head""",
}
"""OFFSET 0 keeps PostgreSQL at one look into the index for each aggregate; else it scans the feed, 10 ms a batch."""

_STORE = """
    INSERT INTO inbox (projection, projection_version, source, aggregate_type, aggregate_id, last_version, hashes)
    {} ON CONFLICT (projection, projection_version, source, aggregate_type, aggregate_id)
    DO UPDATE SET last_version = excluded.last_version, hashes = excluded.hashes"""
_STORE_ROW = _STORE.format("VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
_STORE_ROWS = _STORE.format(
    "SELECT ?1, ?2::integer, ?3, * FROM unnest(?4::text[], ?5::text[], ?6::bigint[], ?7::text[])"
)


def digest_of(raw: bytes) -> str:
    """Return the SHA-256 of an event's bytes in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


@dataclass(slots=True)
class Head:
    """Last version applied, and the hashes of the latest ``HASHES_KEPT`` ones, oldest first."""

    version: int = 0
    hashes: list[str] = field(default_factory=list)


class Heads:
    """The heads that one transaction works on; ``store`` writes the changed ones back."""

    def __init__(self, conn: AsyncConnection, key: FeedKey) -> None:
        self._conn = conn
        self._key = key
        self._heads: dict[AggregateRef, Head] = {}
        self._changed: set[AggregateRef] = set()

    async def load(self, refs: Collection[AggregateRef], beside: str = "") -> list[Sequence[Any]]:
        """Read the heads of these aggregates.

        Args:
            refs: of the aggregates.
            beside: a query for five columns, the last of them not null, to be answered in the same round trip; its
                ``?1`` to ``?3`` are the feed's key.

        Returns:
            The rows of ``beside``.
        """
        wanted = {ref for ref in refs if ref not in self._heads}
        if not wanted and not beside:
            return []
        driver = await Driver.under(self._conn)
        names = [json.dumps(list(wanted))] if driver.dialect == "sqlite" else _columns(wanted)
        self._heads.update({ref: Head() for ref in wanted})
        others: list[Sequence[Any]] = []
        query = _LOAD[driver.dialect] + (f" UNION ALL {beside}" if beside else "")
        for row in await driver.fetch(query, *self._key, *names):
            kind, aggregate_id, version, hashes, other = row
            if other is None:
                self._heads[AggregateRef(kind, aggregate_id)] = Head(version, hashes.split())
            else:
                others.append(row)
        return others

    def version(self, ref: AggregateRef) -> int:
        """Return the last version applied; 0 for none. The aggregate must have been loaded."""
        return self._heads[ref].version

    def differs(self, ref: AggregateRef, version: int, digest: str) -> bool:
        """Tell whether this version was applied with other bytes; False where that is no longer remembered."""
        head = self._heads[ref]
        back = head.version - version + 1
        return 1 <= back <= len(head.hashes) and head.hashes[-back] != digest

    def advance(self, ref: AggregateRef, digest: str) -> None:
        """Note that the next version was applied."""
        head = self._heads[ref]
        head.version += 1
        head.hashes.append(digest)
        del head.hashes[:-HASHES_KEPT]
        self._changed.add(ref)

    async def store(self) -> None:
        """Write the changed heads."""
        if not self._changed:
            return
        driver = await Driver.under(self._conn)
        heads = [(*ref, self._heads[ref]) for ref in self._changed]
        rows = [(kind, aggregate_id, head.version, " ".join(head.hashes)) for kind, aggregate_id, head in heads]
        if driver.dialect == "sqlite":
            await driver.write(_STORE_ROW, [(*self._key, *row) for row in rows])
        else:
            await driver.fetch(_STORE_ROWS, *self._key, *zip(*rows, strict=True))


def _columns(refs: Collection[AggregateRef]) -> list[list[str]]:
    return [[ref.type for ref in refs], [ref.id for ref in refs]]
