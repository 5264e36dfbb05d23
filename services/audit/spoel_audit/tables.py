"""The log's tables. All but the two small ones that say how far the log is are append-only in the database itself."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, LargeBinary, MetaData, Table, Text

from spoel_common.store.schema import BigInt

TREE_ROW = 1
"""The id of the only row of ``log_tree``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

metadata = MetaData()

log_entry = Table(
    "log_entry",
    metadata,
    Column("sequence", BigInt, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("entry", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
)
"""The leaves of the tree: sequence without gaps from 0, the entry's bytes, their hash."""

log_content = Table(
    "log_content",
    metadata,
    Column("sequence", BigInt, primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
    Column("event_bytes", LargeBinary, nullable=False),
)
"""What the entries commit to, apart from them, so that it can go and they stay."""

log_index = Table(
    "log_index",
    metadata,
    Column("sequence", BigInt, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("aggregate", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("version", BigInt, nullable=False),
    Column("case_id", Text),
    Column("patient_id", Text),
    Column("session_id", Text),
    Column("room_id", Text),
    Column("person_id", Text, nullable=False),
    Column("supervisor_id", Text),
    Column("occurred_us", BigInt, nullable=False),
    Column("recorded_us", BigInt, nullable=False),
)
"""What can be asked for. A read model: other questions get another table, built from the content beside this one.

``name`` is the event's name without service and version; times are microseconds since 1970-01-01 UTC.
"""

log_tree = Table(
    "log_tree",
    metadata,
    Column("id", BigInt, primary_key=True, autoincrement=False),
    Column("size", BigInt, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
)
"""One row: the size of the log and the peaks of its tree, so that appending and the root need no scan."""

log_feed = Table(
    "log_feed",
    metadata,
    Column("source", Text, primary_key=True),
    Column("events", BigInt, nullable=False),
)
"""How many events of each store are in the log."""


def microseconds(moment: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(us: int) -> datetime:
    """Return the moment that is ``us`` microseconds after 1970-01-01 UTC."""
    return _EPOCH + timedelta(microseconds=us)
