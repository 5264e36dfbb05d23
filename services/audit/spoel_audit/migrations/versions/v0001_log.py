"""The backbone's tables and the log: entries, their content, the index for questions, and how far the log is.

The database itself refuses to change, delete or replace what is in the log, or to leave out a sequence. On SQLite the
triggers before an insert also stop REPLACE, which deletes without firing the triggers before a delete.
"""

from alembic import op

from spoel_common.store import migrations_v1

revision = "0001"
down_revision = None

_TYPES = {
    "sqlite": {"bytes": "BLOB", "big": "INTEGER", "no_bytes": "X''"},
    "postgresql": {"bytes": "BYTEA", "big": "BIGINT", "no_bytes": "''"},
}

_TABLES = (
    """
    CREATE TABLE log_entry (
        sequence {big} NOT NULL PRIMARY KEY CHECK (sequence >= 0),
        event_id TEXT NOT NULL UNIQUE,
        entry {bytes} NOT NULL CHECK (length(entry) <= 65535),
        leaf_hash {bytes} NOT NULL CHECK (length(leaf_hash) = 32)
    )""",
    """
    CREATE TABLE log_content (
        sequence {big} NOT NULL PRIMARY KEY REFERENCES log_entry (sequence),
        salt {bytes} NOT NULL CHECK (length(salt) = 32),
        event_bytes {bytes} NOT NULL
    )""",
    """
    CREATE TABLE log_index (
        sequence {big} NOT NULL PRIMARY KEY REFERENCES log_entry (sequence),
        type TEXT NOT NULL,
        name TEXT NOT NULL,
        service TEXT NOT NULL,
        source TEXT NOT NULL,
        aggregate TEXT NOT NULL,
        subject TEXT NOT NULL,
        version {big} NOT NULL,
        case_id TEXT,
        patient_id TEXT,
        session_id TEXT,
        room_id TEXT,
        person_id TEXT NOT NULL,
        supervisor_id TEXT,
        occurred_us {big} NOT NULL,
        recorded_us {big} NOT NULL
    )""",
    "CREATE INDEX log_index_case ON log_index (case_id, sequence) WHERE case_id IS NOT NULL",
    "CREATE INDEX log_index_patient ON log_index (patient_id, sequence) WHERE patient_id IS NOT NULL",
    "CREATE INDEX log_index_session ON log_index (session_id, sequence) WHERE session_id IS NOT NULL",
    "CREATE INDEX log_index_room ON log_index (room_id, sequence) WHERE room_id IS NOT NULL",
    "CREATE INDEX log_index_person ON log_index (person_id, sequence)",
    "CREATE INDEX log_index_name ON log_index (name, sequence)",
    "CREATE INDEX log_index_occurred ON log_index (occurred_us, sequence)",
    """
    CREATE TABLE log_tree (
        id {big} NOT NULL PRIMARY KEY CHECK (id = 1),
        size {big} NOT NULL CHECK (size >= 0),
        peaks {bytes} NOT NULL
    )""",
    "INSERT INTO log_tree (id, size, peaks) VALUES (1, 0, {no_bytes})",
    """
    CREATE TABLE log_feed (
        source TEXT NOT NULL PRIMARY KEY,
        events {big} NOT NULL
    )""",
)

_APPEND_ONLY = ("log_entry", "log_content", "log_index")

_SQLITE = (
    """
    CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
    BEGIN SELECT RAISE(ABORT, 'the log is append-only, no UPDATE'); END""",
    """
    CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
    BEGIN SELECT RAISE(ABORT, 'the log is append-only, no DELETE'); END""",
    """
    CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}
    WHEN EXISTS (SELECT 1 FROM {table} WHERE sequence = NEW.sequence)
    BEGIN SELECT RAISE(ABORT, 'the log is append-only, already there'); END""",
)

_SQLITE_NEXT = (
    """
    CREATE TRIGGER log_entry_next BEFORE INSERT ON log_entry
    WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence) + 1, 0) FROM log_entry)
    BEGIN SELECT RAISE(ABORT, 'the log has no gaps, this is not its next sequence'); END""",
    """
    CREATE TRIGGER log_entry_once BEFORE INSERT ON log_entry
    WHEN EXISTS (SELECT 1 FROM log_entry WHERE event_id = NEW.event_id)
    BEGIN SELECT RAISE(ABORT, 'the log has each event once, it has this one'); END""",
)

_POSTGRESQL_FUNCTIONS = (
    """
    CREATE FUNCTION log_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the log is append-only, no %', TG_OP USING ERRCODE = 'restrict_violation';
    END $$""",
    """
    CREATE FUNCTION log_refuse_gap() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.sequence IS DISTINCT FROM (SELECT coalesce(max(sequence) + 1, 0) FROM log_entry) THEN
            RAISE EXCEPTION 'the log has no gaps, % is not its next sequence', NEW.sequence
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$""",
)

_POSTGRESQL = (
    """
    CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse_change()""",
    "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only",
)

_POSTGRESQL_NEXT = (
    """
    CREATE TRIGGER log_entry_next BEFORE INSERT ON log_entry
    FOR EACH ROW EXECUTE FUNCTION log_refuse_gap()""",
    "ALTER TABLE log_entry ENABLE ALWAYS TRIGGER log_entry_next",
)


def upgrade() -> None:
    """Make all tables and what guards them."""
    migrations_v1.upgrade(op)
    dialect = op.get_bind().dialect.name
    for statement in _TABLES:
        op.execute(statement.format(**_TYPES[dialect]))
    for statement in _guards(dialect):
        op.execute(statement)


def _guards(dialect: str) -> list[str]:
    if dialect == "sqlite":
        return [*(guard.format(table=table) for table in _APPEND_ONLY for guard in _SQLITE), *_SQLITE_NEXT]
    guards = [guard.format(table=table) for table in _APPEND_ONLY for guard in _POSTGRESQL]
    return [*_POSTGRESQL_FUNCTIONS, *guards, *_POSTGRESQL_NEXT]
