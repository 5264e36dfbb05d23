"""The one Alembic environment of all services; ``spoel_common.store.migrate`` hands it a connection."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
