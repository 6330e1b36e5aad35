"""Frequent statements in the driver's own form.

SQLAlchemy compiles each of them once and pools the connections. Its way to the driver takes as much processor time as
the driver's own to PostgreSQL, so those that people wait for most go without it (bench/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, TextClause
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from task_api.adapters.postgres.rows import Row, json_text

_DIALECT = dialect(json_serializer=json_text)  # type: ignore[no-untyped-call]


class Direct:
    """A statement that is asked outside of transactions; `clause` is the same one for within."""

    def __init__(self, clause: TextClause | Select[Any]) -> None:
        compiled = clause.compile(dialect=_DIALECT)
        self.clause = clause
        self._sql = str(compiled)
        self._constants = {name: bound.value for name, bound in compiled.binds.items() if not bound.required}
        self._parameters = [
            (name, compiled.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT))
            for name in compiled.positiontup or ()
        ]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Give the values as the driver takes them, in the statement's order."""
        given = self._constants | values
        return [
            given[name] if process is None else process(given[name]) for name, process in self._parameters
        ]

    async def row(self, connection: AsyncConnection, values: dict[str, Any]) -> Row | None:
        """Give the first row. `connection` commits each statement by itself. Raises asyncpg's errors."""
        driver = await _driver(connection)
        found: Row | None = await driver.fetchrow(self._sql, *self.arguments(values))
        return found

    async def rows(self, connection: AsyncConnection, values: dict[str, Any]) -> Sequence[Row]:
        """Give all rows. `connection` commits each statement by itself. Raises asyncpg's errors."""
        found: Sequence[Row] = await (await _driver(connection)).fetch(self._sql, *self.arguments(values))
        return found

    async def together(self, connection: AsyncConnection, asked: Sequence[list[Any]]) -> Sequence[Row]:
        """Ask once for each of these `arguments`, in one round trip and one transaction; give all their rows.

        Raises asyncpg's errors, and then nothing of it stands.
        """
        found: Sequence[Row] = await (await _driver(connection)).fetchmany(self._sql, asked)
        return found


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection
