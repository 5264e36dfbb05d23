"""Which files are of one person."""

from alembic import op

from spoel_common import persons

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    persons.create_table(op)
