"""Pulses that no train accounts for, in the day of the patient whose session was open; own ones, and other nodes'."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import BigInt, UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for prefix in ("", "known_"):
        op.create_table(
            f"{prefix}unauthorised_pulses",
            sa.Column("event_id", sa.String, primary_key=True),
            sa.Column("session_id", sa.String, nullable=False),
            sa.Column("patient_id", sa.String, nullable=False, index=True),
            sa.Column("day", sa.Date, nullable=False),
            sa.Column("pulses", BigInt, nullable=False),
            sa.Column("last_at", UtcDateTime, nullable=False),
        )
