"""The backbone's second schema, and who was erased."""

from alembic import op

from spoel_common import erasure
from spoel_common.store import migrations_v2

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    migrations_v2.upgrade(op)
    erasure.create_table(op)
