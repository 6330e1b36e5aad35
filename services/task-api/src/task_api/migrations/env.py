"""What Alembic runs: the migrations on a connection that `task_api.migrations.runner` opened and guards."""

from __future__ import annotations

from alembic import context

from task_api.adapters.postgres.tables import metadata

connection = context.config.attributes["connection"]
# Each in a transaction of its own: the locks of one are not held while the next waits for others or makes an index.
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_server_default=False,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
