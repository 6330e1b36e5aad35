"""How full the pools of connections are, read at each scrape. No pool may overflow, so there is no gauge of that."""

from __future__ import annotations

from typing import cast

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

SIZE = Gauge("database_pool_size", "Connections that a pool may open.", ["pool"])
OPEN = Gauge("database_pool_open", "Connections that a pool has open, in use or idle.", ["pool"])
CHECKED_OUT = Gauge("database_pool_checked_out", "Connections of a pool that are in use.", ["pool"])


def watch_pool(engine: AsyncEngine, name: str) -> None:
    """Let the gauges labelled `name` show this engine's pool, in place of one that they showed before."""
    # The pool is asked for each time: dispose() gives the engine a new one.
    SIZE.labels(name).set_function(lambda: _pool(engine).size())
    OPEN.labels(name).set_function(lambda: _pool(engine).checkedin() + _pool(engine).checkedout())
    CHECKED_OUT.labels(name).set_function(lambda: _pool(engine).checkedout())


def _pool(engine: AsyncEngine) -> QueuePool:
    return cast("QueuePool", engine.sync_engine.pool)
