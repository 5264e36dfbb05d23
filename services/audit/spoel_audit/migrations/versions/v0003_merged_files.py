"""Which files are of one person."""

from alembic import op

from spoel_common import persons

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    persons.create_table(op)
