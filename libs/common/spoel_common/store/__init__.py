"""The event store and its tables, the same on SQLite and PostgreSQL (SQLAlchemy Core)."""

from spoel_common.store import idempotency, migrations_v1, migrations_v2, snapshots
from spoel_common.store.beside import Beside
from spoel_common.store.database import Database
from spoel_common.store.events import START, Cursor, EventStore, StoredEvent
from spoel_common.store.job import AggregateArchived, AnswerExists, Append, NewAnswer
from spoel_common.store.leader import LeadershipLost, leadership
from spoel_common.store.migrate import migrate, pending_migrations
from spoel_common.store.names import AggregateRef, StoreName, watermark_wildcard
from spoel_common.store.position import Position, PositionUnreadable
from spoel_common.store.readiness import check_append_only, check_order
from spoel_common.store.schema import BigInt, UtcDateTime
from spoel_common.store.upsert import upsert

__all__ = [
    "START",
    "AggregateArchived",
    "AggregateRef",
    "AnswerExists",
    "Append",
    "Beside",
    "BigInt",
    "Cursor",
    "Database",
    "EventStore",
    "LeadershipLost",
    "NewAnswer",
    "Position",
    "PositionUnreadable",
    "StoreName",
    "StoredEvent",
    "UtcDateTime",
    "check_append_only",
    "check_order",
    "idempotency",
    "leadership",
    "migrate",
    "migrations_v1",
    "migrations_v2",
    "pending_migrations",
    "snapshots",
    "upsert",
    "watermark_wildcard",
]
