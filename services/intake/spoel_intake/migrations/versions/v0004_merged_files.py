"""Which files are of one person."""

import sqlalchemy as sa
from alembic import op

from spoel_common import persons
from spoel_common.store import UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    persons.create_table(op)
    op.create_table(
        "merges",
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("into_patient_id", sa.String, nullable=False, index=True),
        sa.Column("merged_at", UtcDateTime, nullable=False),
    )
