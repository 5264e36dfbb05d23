"""Withdrawals of consent that were entered in rooms."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "room_withdrawals",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("withdrawn_at", UtcDateTime, nullable=False),
        sa.Column("correlation_id", sa.String, nullable=False),
        sa.Column("person_id", sa.String, nullable=False),
        sa.Column("roles", sa.String, nullable=False),
        sa.Column("big_number", sa.String, nullable=True),
        sa.Column("supervisor_id", sa.String, nullable=True),
        sa.Column("taken_over", sa.Boolean, nullable=False),
    )
