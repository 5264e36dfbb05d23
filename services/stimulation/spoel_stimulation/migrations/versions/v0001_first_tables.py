"""The journal, what a room knows of others, and what it keeps at hand of its own."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import BigInt, UtcDateTime, migrations_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrations_v1.upgrade(op)
    _known_of_others()
    _own()


def _known_of_others() -> None:
    op.create_table(
        "patients",
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("public_key", sa.String, nullable=False),
    )
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String, primary_key=True),
        sa.Column("consent", sa.String),
        sa.Column("indication", sa.String),
    )
    op.create_table(
        "registrations",
        sa.Column("person_id", sa.String, primary_key=True),
        sa.Column("big_number", sa.String, nullable=False),
        sa.Column("profession", sa.String, nullable=False),
        sa.Column("verified_on", sa.Date, nullable=False),
        sa.Column("evidence", sa.String, nullable=False),
        sa.Column("valid_until", sa.Date),
        sa.Column("ended_on", sa.Date),
    )
    op.create_table(
        "measurement_orders",
        sa.Column("order_id", sa.String, primary_key=True),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("body", sa.String, nullable=False),
    )
    op.create_table(
        "thresholds",
        sa.Column("threshold_id", sa.String, primary_key=True),
        sa.Column("body", sa.String, nullable=False),
    )
    op.create_table(
        "prescriptions",
        sa.Column("prescription_id", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("body", sa.String, nullable=False),
    )
    op.create_table(
        "withdrawn_prescriptions",
        sa.Column("prescription_id", sa.String, primary_key=True),
    )
    op.create_table(
        "bookings",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("patient_id", sa.String, nullable=False),
        sa.Column("room_id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("measurement_order_id", sa.String),
        sa.Column("prescription_id", sa.String),
        sa.Column("prescription_version", sa.Integer),
        sa.Column("starts_at", UtcDateTime, nullable=False),
        sa.Column("ends_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "cancelled_bookings",
        sa.Column("session_id", sa.String, primary_key=True),
    )


def _own() -> None:
    op.create_table(
        "open_sessions",
        sa.Column("room_id", sa.String, primary_key=True),
        sa.Column("session_id", sa.String, nullable=False, unique=True),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("patient_id", sa.String, nullable=False),
    )
    op.create_table(
        "stimuli",
        sa.Column("train_id", sa.String, primary_key=True),
        sa.Column("order_id", sa.String, nullable=False, index=True),
    )
    op.create_table(
        "counters",
        sa.Column("room_id", sa.String, primary_key=True),
        sa.Column("serial", sa.String, nullable=False),
        sa.Column("total_pulses", BigInt, nullable=False),
        sa.Column("uncertain_pulses", BigInt, nullable=False),
    )
