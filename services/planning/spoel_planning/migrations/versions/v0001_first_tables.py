"""First tables of planning."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import BigInt, UtcDateTime, migrations_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrations_v1.upgrade(op)
    _intake_knowledge()
    _stimulation_knowledge()
    _own_bookings()


def _intake_knowledge() -> None:
    op.create_table(
        "known_cases",
        sa.Column("case_id", sa.String, primary_key=True),
        sa.Column("patient_id", sa.String, nullable=False, index=True),
        sa.Column("indication", sa.String),
        sa.Column("decision", sa.String),
        sa.Column("consent", sa.String),
    )
    op.create_table(
        "registrations",
        sa.Column("person_id", sa.String, primary_key=True),
        sa.Column("big_number", sa.String, primary_key=True),
        sa.Column("profession", sa.String),
        sa.Column("verified_on", sa.Date),
        sa.Column("evidence", sa.String),
        sa.Column("valid_until", sa.Date),
        sa.Column("ended_on", sa.Date),
    )


def _stimulation_knowledge() -> None:
    op.create_table(
        "known_rooms",
        sa.Column("room_id", sa.String, primary_key=True),
        sa.Column("stimulator_model", sa.String, nullable=False),
        sa.Column("stimulator_serial", sa.String, nullable=False),
        sa.Column("coil_model", sa.String, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
    )
    op.create_table(
        "answered_stimuli",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("version", BigInt, primary_key=True, autoincrement=False),
        sa.Column("case_id", sa.String, nullable=False),
        sa.Column("measurement_order_id", sa.String, nullable=False, index=True),
        sa.Column("train_id", sa.String, nullable=False),
        sa.Column("percent_mso", sa.Integer, nullable=False),
        sa.Column("response", sa.String, nullable=False),
        sa.Column("answered_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "room_sessions",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("opened_at", UtcDateTime),
        sa.Column("outcome", sa.String),
        sa.Column("closed_at", UtcDateTime),
    )


def _own_bookings() -> None:
    op.create_table(
        "booked_sessions",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("patient_id", sa.String, nullable=False, index=True),
        sa.Column("room_id", sa.String, nullable=False, index=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("starts_at", UtcDateTime, nullable=False),
        sa.Column("ends_at", UtcDateTime, nullable=False),
        sa.Column("local_day", sa.Date, nullable=False),
        sa.Column("pulses", sa.Integer, nullable=False),
        sa.Column("min_pause_s", sa.Float, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
    )
