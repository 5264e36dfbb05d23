"""The backbone's second schema, and who was erased."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import UtcDateTime, migrations_v2

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    migrations_v2.upgrade(op)
    op.create_table(
        "erasures",
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("erasure_id", sa.String, nullable=False),
        sa.Column("ground", sa.String, nullable=False),
        sa.Column("erased_at", UtcDateTime, nullable=False),
        sa.Column("erased_by", sa.String, nullable=False),
        sa.Column("replayed_at", UtcDateTime, nullable=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "erasure_answers",
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("answered_at", UtcDateTime, nullable=False),
        sa.Column("cleared", sa.String, nullable=False),
    )
