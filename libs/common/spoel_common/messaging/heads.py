"""How far each aggregate of a feed is applied to a projection: its last version and the latest events' hashes."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store import AggregateRef, upsert
from spoel_common.store.schema import inbox

HASHES_KEPT = 16
_IDS_A_QUERY = 250

FeedKey = tuple[str, int, str]
"""Projection, its version, source."""


def digest_of(raw: bytes) -> str:
    """Return the SHA-256 of an event's bytes in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


@dataclass
class Head:
    """Last version applied, and version → hash of the latest ``HASHES_KEPT`` ones."""

    version: int = 0
    hashes: dict[int, str] = field(default_factory=dict)


class Heads:
    """The heads that one transaction works on; ``store`` writes the changed ones back."""

    def __init__(self, conn: AsyncConnection, key: FeedKey) -> None:
        self._conn = conn
        self._key = key
        self._heads: dict[AggregateRef, Head] = {}
        self._changed: set[AggregateRef] = set()

    async def load(self, refs: Iterable[AggregateRef]) -> None:
        """Read the heads of these aggregates."""
        wanted = [ref for ref in set(refs) if ref not in self._heads]
        for start in range(0, len(wanted), _IDS_A_QUERY):
            await self._load(wanted[start : start + _IDS_A_QUERY])

    def version(self, ref: AggregateRef) -> int:
        """Return the last version applied; 0 for none. The aggregate must have been loaded."""
        return self._heads[ref].version

    def differs(self, ref: AggregateRef, version: int, digest: str) -> bool:
        """Tell whether this version was applied with other bytes; False where that is no longer remembered."""
        return self._heads[ref].hashes.get(version, digest) != digest

    def advance(self, ref: AggregateRef, digest: str) -> None:
        """Note that the next version was applied."""
        head = self._heads[ref]
        head.version += 1
        head.hashes[head.version] = digest
        head.hashes.pop(head.version - HASHES_KEPT, None)
        self._changed.add(ref)

    async def store(self) -> None:
        """Write the changed heads."""
        await upsert(self._conn, inbox, [self._row(ref) for ref in self._changed])

    async def _load(self, refs: list[AggregateRef]) -> None:
        projection, projection_version, source = self._key
        query = (
            select(inbox.c.aggregate_type, inbox.c.aggregate_id, inbox.c.last_version, inbox.c.hashes)
            .where(inbox.c.projection == projection)
            .where(inbox.c.projection_version == projection_version)
            .where(inbox.c.source == source)
            .where(inbox.c.aggregate_type.in_({ref.type for ref in refs}))
            .where(inbox.c.aggregate_id.in_({ref.id for ref in refs}))
        )
        self._heads.update({ref: Head() for ref in refs})
        for row in await self._conn.execute(query):
            ref = AggregateRef(row.aggregate_type, row.aggregate_id)
            hashes = {int(version): digest for version, digest in json.loads(row.hashes).items()}
            if ref not in self._changed:
                self._heads[ref] = Head(row.last_version, hashes)

    def _row(self, ref: AggregateRef) -> dict[str, object]:
        projection, projection_version, source = self._key
        head = self._heads[ref]
        return {
            "projection": projection,
            "projection_version": projection_version,
            "source": source,
            "aggregate_type": ref.type,
            "aggregate_id": ref.id,
            "last_version": head.version,
            "hashes": json.dumps(head.hashes, separators=(",", ":")),
        }
