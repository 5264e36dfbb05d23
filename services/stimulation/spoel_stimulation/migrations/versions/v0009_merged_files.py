"""Which files are of one person, and whose consent was withdrawn in a room."""

import sqlalchemy as sa
from alembic import op

from spoel_common import persons

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    persons.create_table(op)
    for table in ("withdrawals", "site_withdrawals"):
        op.add_column(table, sa.Column("patient_id", sa.String))
