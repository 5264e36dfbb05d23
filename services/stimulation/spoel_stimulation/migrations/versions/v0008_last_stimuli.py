"""When a patient's last single stimulus was due: of this node's own events, and of other nodes'."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import UtcDateTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for prefix in ("", "known_"):
        op.create_table(
            f"{prefix}last_stimuli",
            sa.Column("patient_id", sa.String, primary_key=True),
            sa.Column("last_at", UtcDateTime, nullable=False),
        )
