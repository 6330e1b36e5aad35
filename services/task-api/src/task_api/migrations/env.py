"""What Alembic runs: the migrations on a connection that `task_api.migrations.runner` opened and guards."""

from __future__ import annotations

from alembic import context

from task_api.adapters.postgres.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_server_default=False)
with context.begin_transaction():
    context.run_migrations()
