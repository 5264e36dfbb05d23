"""The backbone's second schema; sealed remarks about sessions, and who was erased."""

import sqlalchemy as sa
from alembic import op

from spoel_common import erasure
from spoel_common.store import UtcDateTime, migrations_v2

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    migrations_v2.upgrade(op)
    erasure.create_table(op)
    op.create_table(
        "notes",
        sa.Column("note_id", sa.String, primary_key=True),
        sa.Column("event_id", sa.String, nullable=False),
        sa.Column("session_id", sa.String, nullable=False, index=True),
        sa.Column("patient_id", sa.String, nullable=False, index=True),
        sa.Column("sealed", sa.String, nullable=False),
        sa.Column("written_at", UtcDateTime, nullable=False),
        sa.Column("written_by", sa.String, nullable=False),
    )
