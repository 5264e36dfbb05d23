"""What heart-brain searches found."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "ranked_searches",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("case_id", sa.String, nullable=False, index=True),
        sa.Column("measurement_order_id", sa.String, nullable=False),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("best", sa.String),
        sa.Column("locations", sa.String, nullable=False),
        sa.Column("ranked_at", UtcDateTime, nullable=False),
    )
