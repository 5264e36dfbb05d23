"""First tables of intake."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import BigInt, UtcDateTime, migrations_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrations_v1.upgrade(op)
    _vault()
    _read_models()
    _strips()


def _vault() -> None:
    op.create_table(
        "vault",
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("bsn_index", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("public_key", sa.String, nullable=False),
        sa.Column("wrapped_private_key", sa.LargeBinary, nullable=True),
        sa.Column("sealed_identity", sa.String, nullable=False),
        sa.Column("registered_at", UtcDateTime, nullable=False),
    )
    op.create_table("vault_key", sa.Column("fingerprint", sa.String, primary_key=True))
    op.create_table(
        "patient_channels",
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("person_id", sa.String, primary_key=True),
    )


def _read_models() -> None:
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String, primary_key=True),
        sa.Column("patient_id", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("referrer_kind", sa.String, nullable=False),
        sa.Column("indication", sa.String, nullable=False),
        sa.Column("referred_on", sa.Date, nullable=False),
        sa.Column("external_id", sa.String, nullable=True),
        sa.Column("referred_by", sa.String, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
    )
    op.create_index("cases_by_sender", "cases", ["referred_by", "case_id"])
    op.create_index(
        "cases_one_open",
        "cases",
        ["patient_id"],
        unique=True,
        sqlite_where=sa.text("is_open"),
        postgresql_where=sa.text("is_open"),
    )
    op.create_table(
        "staff",
        sa.Column("person_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("big_number", sa.String, nullable=False),
        sa.Column("profession", sa.String, nullable=False),
        sa.Column("verified_on", sa.Date, nullable=False),
        sa.Column("evidence", sa.String, nullable=False),
        sa.Column("valid_until", sa.Date, nullable=True),
        sa.Column("ended_on", sa.Date, nullable=True),
        sa.Column("end_reason", sa.String, nullable=True),
    )


def _strips() -> None:
    op.create_table(
        "rooms",
        sa.Column("room_id", sa.String, primary_key=True),
        sa.Column("strip_public_key", sa.String, nullable=False),
    )
    op.create_table(
        "strips",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("room_id", sa.String, nullable=True),
        sa.Column("patient_id", sa.String, nullable=True),
        sa.Column("visible_from", UtcDateTime, nullable=True),
        sa.Column("visible_until", UtcDateTime, nullable=True),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("revision", BigInt, nullable=False),
        sa.Column("pushed", BigInt, nullable=False),
    )
    op.create_index("strips_by_room", "strips", ["room_id"])
