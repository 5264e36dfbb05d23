"""Up to where the file of each room's guard is recorded."""

import sqlalchemy as sa
from alembic import op

from spoel_common.store import BigInt

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "guard_files",
        sa.Column("room_id", sa.String, primary_key=True),
        sa.Column("file_id", sa.String, nullable=False),
        sa.Column("recorded_to", BigInt, nullable=False),
    )
