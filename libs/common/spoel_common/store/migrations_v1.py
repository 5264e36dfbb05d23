"""First schema of the tables that every service has. Frozen: a change is a new module ``migrations_v2``.

A service's first Alembic revision calls ``upgrade(op)``; see ``spoel_common.store.migrate``. Never use
``batch_alter_table`` on ``events``: on SQLite it re-creates the table and silently drops the triggers.
"""

from typing import Protocol

from sqlalchemy import Connection


class Operations(Protocol):
    """What is needed of ``alembic.op``."""

    def execute(self, sqltext: str, /) -> None:
        """Run one statement."""

    def get_bind(self) -> Connection:
        """Return the connection of the migration."""


_EVENTS = {
    "sqlite": """
        CREATE TABLE events (
            position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            xid INTEGER NOT NULL DEFAULT 0,
            id TEXT NOT NULL UNIQUE,
            aggregate_type TEXT NOT NULL,
            aggregate_id TEXT NOT NULL,
            version INTEGER NOT NULL CHECK (version >= 1),
            type TEXT NOT NULL,
            raw BLOB NOT NULL,
            CONSTRAINT events_aggregate_version UNIQUE (aggregate_type, aggregate_id, version)
        )""",
    "postgresql": """
        CREATE TABLE events (
            position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
            id TEXT NOT NULL UNIQUE,
            aggregate_type TEXT NOT NULL,
            aggregate_id TEXT NOT NULL,
            version BIGINT NOT NULL CHECK (version >= 1),
            type TEXT NOT NULL,
            raw BYTEA NOT NULL,
            CONSTRAINT events_aggregate_version UNIQUE (aggregate_type, aggregate_id, version)
        )""",
}

_APPEND_ONLY = {
    "sqlite": (
        """
        CREATE TRIGGER events_no_update BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are append-only: no UPDATE'); END""",
        """
        CREATE TRIGGER events_no_delete BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are append-only: no DELETE'); END""",
        """
        CREATE TRIGGER events_no_replace BEFORE INSERT ON events
        WHEN EXISTS (SELECT 1 FROM events WHERE position = NEW.position)
          OR EXISTS (SELECT 1 FROM events WHERE id = NEW.id)
          OR EXISTS (SELECT 1 FROM events WHERE aggregate_type = NEW.aggregate_type
                     AND aggregate_id = NEW.aggregate_id AND version = NEW.version)
        BEGIN SELECT RAISE(ABORT, 'events are append-only: already there'); END""",
    ),
    "postgresql": (
        "CREATE INDEX events_order ON events (xid, position)",
        """
        CREATE FUNCTION spoel_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'events are append-only: no %', TG_OP USING ERRCODE = 'restrict_violation';
        END $$""",
        """
        CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION spoel_refuse_change()""",
        "ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only",
    ),
}

_OTHERS = (
    """
    CREATE TABLE idempotency (
        client TEXT NOT NULL,
        route TEXT NOT NULL,
        key TEXT NOT NULL,
        body_hash TEXT NOT NULL,
        status INTEGER NOT NULL,
        response {bytes} NOT NULL,
        created_at {moment} NOT NULL,
        PRIMARY KEY (client, route, key)
    )""",
    "CREATE INDEX ix_idempotency_created_at ON idempotency (created_at)",
    """
    CREATE TABLE relay_cursor (
        source TEXT NOT NULL PRIMARY KEY,
        xid BIGINT NOT NULL,
        position BIGINT NOT NULL,
        stream_sequence BIGINT NOT NULL
    )""",
    """
    CREATE TABLE feeds (
        projection TEXT NOT NULL,
        projection_version INTEGER NOT NULL,
        source TEXT NOT NULL,
        stream_created TEXT NOT NULL,
        stream_sequence BIGINT NOT NULL,
        xid BIGINT NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (projection, projection_version, source)
    )""",
    """
    CREATE TABLE inbox (
        projection TEXT NOT NULL,
        projection_version INTEGER NOT NULL,
        source TEXT NOT NULL,
        aggregate_type TEXT NOT NULL,
        aggregate_id TEXT NOT NULL,
        last_version BIGINT NOT NULL,
        hashes TEXT NOT NULL,
        PRIMARY KEY (projection, projection_version, source, aggregate_type, aggregate_id)
    )""",
    """
    CREATE TABLE held (
        held_id {serial},
        projection TEXT NOT NULL,
        projection_version INTEGER NOT NULL,
        source TEXT NOT NULL,
        aggregate_type TEXT NOT NULL,
        aggregate_id TEXT NOT NULL,
        version BIGINT,
        stream_sequence BIGINT NOT NULL,
        hash TEXT NOT NULL,
        raw {bytes} NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('gap', 'retry', 'behind', 'parked')),
        tries INTEGER NOT NULL,
        try_at {moment},
        error TEXT NOT NULL,
        held_at {moment} NOT NULL
    )""",
    """
    CREATE UNIQUE INDEX held_once ON held
        (projection, projection_version, source, aggregate_type, aggregate_id, version, hash)""",
)

_TYPES = {
    "sqlite": {"bytes": "BLOB", "moment": "TEXT", "serial": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"},
    "postgresql": {
        "bytes": "BYTEA",
        "moment": "TIMESTAMPTZ",
        "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    },
}


def upgrade(op: Operations) -> None:
    """Make events (append-only), idempotency, relay_cursor, feeds, inbox and held.

    Args:
        op: the module ``alembic.op`` inside a revision.
    """
    dialect = op.get_bind().dialect.name
    op.execute(_EVENTS[dialect])
    for statement in _APPEND_ONLY[dialect]:
        op.execute(statement)
    for statement in _OTHERS:
        op.execute(statement.format(**_TYPES[dialect]))
