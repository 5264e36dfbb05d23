"""Second schema of the tables that every service has. Frozen: a change is a new module ``migrations_v3``.

Snapshots of long aggregates, which aggregates are archived, which version of each projection serves and which are being
rebuilt, and indexes that the inbox needs. A service's second Alembic revision calls ``upgrade(op)``.
"""

from spoel_common.store.migrations_v1 import Operations

_TABLES = (
    """
    CREATE TABLE snapshots (
        aggregate_type TEXT NOT NULL,
        aggregate_id TEXT NOT NULL,
        version BIGINT NOT NULL CHECK (version >= 1),
        form INTEGER NOT NULL,
        state {bytes} NOT NULL,
        taken_at {moment} NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id)
    )""",
    """
    CREATE TABLE archived (
        aggregate_type TEXT NOT NULL,
        aggregate_id TEXT NOT NULL,
        version BIGINT NOT NULL CHECK (version >= 1),
        archived_at {moment} NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id)
    )""",
    """
    CREATE TABLE serving (
        projection TEXT NOT NULL PRIMARY KEY,
        projection_version INTEGER NOT NULL,
        since {moment} NOT NULL
    )""",
    """
    CREATE TABLE rebuilds (
        projection TEXT NOT NULL PRIMARY KEY,
        asked_at {moment} NOT NULL
    )""",
    "CREATE INDEX held_of_feed ON held (projection, projection_version, source, state)",
)

_TYPES = {
    "sqlite": {"bytes": "BLOB", "moment": "TEXT"},
    "postgresql": {"bytes": "BYTEA", "moment": "TIMESTAMPTZ"},
}


def upgrade(op: Operations) -> None:
    """Make snapshots, archived, serving and rebuilds.

    Args:
        op: the module ``alembic.op`` inside a revision.
    """
    dialect = op.get_bind().dialect.name
    for statement in _TABLES:
        op.execute(statement.format(**_TYPES[dialect]))
