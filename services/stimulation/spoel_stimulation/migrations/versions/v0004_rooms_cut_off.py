"""Rooms cut off: what other nodes of the site tell, leases that were given back, withdrawals entered in a room."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _of_other_nodes()
    _own()
    op.create_table(
        "withdrawals_recorded",
        sa.Column("event_id", sa.String, primary_key=True),
    )
    op.create_index("ix_bookings_patient_id", "bookings", ["patient_id"])


def _of_other_nodes() -> None:
    op.create_table(
        "site_rooms",
        sa.Column("room_id", sa.String, primary_key=True),
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("stimulator_model", sa.String),
        sa.Column("stimulator_serial", sa.String),
        sa.Column("coil_model", sa.String),
        sa.Column("latch_reason", sa.String),
    )
    op.create_table(
        "site_sessions",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("room_id", sa.String),
        sa.Column("case_id", sa.String),
        sa.Column("patient_id", sa.String, index=True),
        sa.Column("opened_at", UtcDateTime),
        sa.Column("closed_at", UtcDateTime),
    )
    op.create_table(
        "site_leases_released",
        sa.Column("session_id", sa.String, primary_key=True),
    )
    op.create_table(
        "site_withdrawals",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("case_id", sa.String, nullable=False, index=True),
    )


def _own() -> None:
    op.create_table(
        "leases_released",
        sa.Column("session_id", sa.String, primary_key=True),
    )
    op.create_table(
        "withdrawals",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("case_id", sa.String, nullable=False, index=True),
    )
