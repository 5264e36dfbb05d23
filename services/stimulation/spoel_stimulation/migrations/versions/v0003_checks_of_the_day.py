"""What a patient was given on a day, and what blocks: of this node's own events, and of other nodes'."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import BigInt, UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _book("")
    _book("known_")
    op.create_table("known_measurements", sa.Column("session_id", sa.String, primary_key=True))


def _book(prefix: str) -> None:
    op.create_table(
        f"{prefix}given",
        sa.Column("train_id", sa.String, primary_key=True),
        sa.Column("session_id", sa.String, nullable=False),
        sa.Column("patient_id", sa.String, nullable=False, index=True),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("pulses", BigInt, nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
    )
    for name in ("adverse_events", "releases"):
        op.create_table(
            f"{prefix}{name}",
            sa.Column("adverse_event_id", sa.String, primary_key=True),
            sa.Column("patient_id", sa.String, nullable=False, index=True),
        )
    op.create_table(
        f"{prefix}refused_days",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("patient_id", sa.String, nullable=False, index=True),
        sa.Column("day", sa.Date, nullable=False),
    )
