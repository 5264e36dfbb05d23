"""The tables that every service has, as the queries see them. ``migrations_v1`` and ``migrations_v2`` make them.

Writing a read model of your own: use ``UtcDateTime`` for moments and ``BigInt`` for whole numbers, the same on
SQLite and PostgreSQL.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine, UserDefinedType

from spoel_common.events.model import format_utc

BigInt = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit whole number; on SQLite plain INTEGER, so that it can be a row id."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment: TIMESTAMPTZ on PostgreSQL, sortable ISO text in UTC with microseconds on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Choose the column type of the database at hand."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """Refuse a moment without a zone, and write UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"moment {value.isoformat()} has no time zone")
        return format_utc(value) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Return an aware moment in UTC."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, which never wraps around; a plain integer on SQLite."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Return the type's name in SQL."""
        return "xid8"


metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("position", BigInt, primary_key=True, autoincrement=True),
    Column("xid", Xid8().with_variant(Integer, "sqlite"), nullable=False),
    Column("id", String, nullable=False, unique=True),
    Column("aggregate_type", String, nullable=False),
    Column("aggregate_id", String, nullable=False),
    Column("version", BigInt, nullable=False),
    Column("type", String, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    UniqueConstraint("aggregate_type", "aggregate_id", "version", name="events_aggregate_version"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("client", String, primary_key=True),
    Column("route", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("body_hash", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

relay_cursor = Table(
    "relay_cursor",
    metadata,
    Column("source", String, primary_key=True),
    Column("xid", BigInt, nullable=False),
    Column("position", BigInt, nullable=False),
    Column("stream_sequence", BigInt, nullable=False),
)

feeds = Table(
    "feeds",
    metadata,
    Column("projection", String, primary_key=True),
    Column("projection_version", Integer, primary_key=True),
    Column("source", String, primary_key=True),
    Column("stream_created", String, nullable=False),
    Column("stream_sequence", BigInt, nullable=False),
    Column("xid", BigInt, nullable=False),
    Column("position", BigInt, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("projection", String, primary_key=True),
    Column("projection_version", Integer, primary_key=True),
    Column("source", String, primary_key=True),
    Column("aggregate_type", String, primary_key=True),
    Column("aggregate_id", String, primary_key=True),
    Column("last_version", BigInt, nullable=False),
    Column("hashes", String, nullable=False),
)

held = Table(
    "held",
    metadata,
    Column("held_id", BigInt, primary_key=True, autoincrement=True),
    Column("projection", String, nullable=False),
    Column("projection_version", Integer, nullable=False),
    Column("source", String, nullable=False),
    Column("aggregate_type", String, nullable=False),
    Column("aggregate_id", String, nullable=False),
    Column("version", BigInt, nullable=True),
    Column("stream_sequence", BigInt, nullable=False),
    Column("hash", String, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("try_at", UtcDateTime, nullable=True),
    Column("error", String, nullable=False),
    Column("held_at", UtcDateTime, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("aggregate_type", String, primary_key=True),
    Column("aggregate_id", String, primary_key=True),
    Column("version", BigInt, nullable=False),
    Column("form", Integer, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
)

archived = Table(
    "archived",
    metadata,
    Column("aggregate_type", String, primary_key=True),
    Column("aggregate_id", String, primary_key=True),
    Column("version", BigInt, nullable=False),
    Column("archived_at", UtcDateTime, nullable=False),
)

serving = Table(
    "serving",
    metadata,
    Column("projection", String, primary_key=True),
    Column("projection_version", Integer, nullable=False),
    Column("since", UtcDateTime, nullable=False),
)

rebuilds = Table(
    "rebuilds",
    metadata,
    Column("projection", String, primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
)
