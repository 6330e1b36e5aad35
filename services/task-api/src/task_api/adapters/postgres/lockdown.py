"""The emergency stop as the database has it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.tables import lockdown
from task_api.application.lockdown import Stop


class PostgresStop:
    """The port StopReader on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def stop(self) -> Stop:
        """Read it."""
        with storage_errors():
            async with self._plain.connect() as connection:
                row = (await connection.execute(select(lockdown.c.number, lockdown.c.since))).one()
                return Stop(row.number, row.since is not None)
