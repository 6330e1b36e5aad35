"""The relay's side of the outbox table: rows are held by their locks while they are being published."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, Float, Integer, Text, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from task_api.adapters.postgres.database import connect, storage_errors
from task_api.application.outbox_ports import EVERYTHING, Failure, OutboxRow, OutboxState, Share
from task_api.application.relay_outbox import MAX_BYTES

# Two questions, for each has its own partial index.
_HAS_WORK = text(
    """
    SELECT EXISTS (SELECT FROM outbox WHERE topic = ANY(:topics) AND parked_at IS NULL AND next_attempt_at IS NULL)
        OR EXISTS (
            SELECT FROM outbox
            WHERE topic = ANY(:topics) AND parked_at IS NULL AND next_attempt_at <= clock_timestamp()
        )
    """
).bindparams(bindparam("topics", type_=ARRAY(Text)))

# Topic by topic, so that one whose rows do not pass cannot stand before the others. What is beyond the bytes stays in
# the database: of great events it would be read again for each request. A second row always comes, to tell one that
# cannot pass from a broker that takes none.
_TAKE = text(
    """
    WITH fresh AS (
        SELECT o.*,
               row_number() OVER oldest_first AS place,
               sum(octet_length(event)) OVER oldest_first - octet_length(event) AS bytes_before
        FROM unnest(:topics) AS wanted(name) CROSS JOIN LATERAL (
            SELECT id, topic, key, event, attempts, false AS waited, created_at FROM outbox
            WHERE topic = wanted.name AND parked_at IS NULL AND next_attempt_at IS NULL
                AND (:shares = 1 OR (hashtext(key) & 2147483647) % :shares = :share)
            ORDER BY created_at, id LIMIT :fresh FOR UPDATE SKIP LOCKED
        ) AS o
        WINDOW oldest_first AS (PARTITION BY topic ORDER BY created_at, id)
    ), waited AS (
        SELECT o.* FROM unnest(:topics) AS wanted(name) CROSS JOIN LATERAL (
            SELECT id, topic, key, event, attempts, true AS waited FROM outbox
            WHERE topic = wanted.name AND parked_at IS NULL AND next_attempt_at <= clock_timestamp()
                AND (:shares = 1 OR (hashtext(key) & 2147483647) % :shares = :share)
            ORDER BY next_attempt_at, id LIMIT :waited FOR UPDATE SKIP LOCKED
        ) AS o
    )
    SELECT id, topic, key, event, attempts, waited FROM fresh WHERE place <= 2 OR bytes_before < :bytes
    UNION ALL SELECT * FROM waited
    """
).bindparams(
    bindparam("topics", type_=ARRAY(Text)),
    bindparam("fresh", type_=Integer),
    bindparam("bytes", type_=Integer),
    bindparam("waited", type_=Integer),
    bindparam("share", type_=Integer),
    bindparam("shares", type_=Integer),
)

_PUBLISHED = text("DELETE FROM outbox WHERE id = ANY(:ids)").bindparams(bindparam("ids", type_=ARRAY(Uuid)))

_FAILED = text(
    """
    UPDATE outbox SET
        attempts = failed.attempts,
        last_error = failed.reason,
        next_attempt_at = clock_timestamp() + make_interval(secs => failed.delay),
        parked_at = CASE WHEN failed.parked THEN clock_timestamp() END
    FROM unnest(:ids, :attempts, :delays, :reasons, :parked) AS failed(id, attempts, delay, reason, parked)
    WHERE outbox.id = failed.id
    """
).bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("attempts", type_=ARRAY(Integer)),
    bindparam("delays", type_=ARRAY(Float)),
    bindparam("reasons", type_=ARRAY(Text)),
    bindparam("parked", type_=ARRAY(Boolean)),
)

_STATE = text(
    """
    SELECT count(*) FILTER (WHERE parked_at IS NULL) AS depth,
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE parked_at IS NULL)), 0)
               AS oldest_age,
           count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked
    FROM outbox
    """
)

_REASON_MAX = 500


def relay_engine(database_url: str, authority: str | None = None, *, lanes: int) -> AsyncEngine:
    """Give an engine of one connection a lane, for the relay alone.

    Its transactions stay open while the broker answers: taken from the requests' pool, a slow broker would eat into
    what requests need.
    """
    return connect(database_url, pool_size=lanes, authority=authority)


class PostgresOutbox:
    """The outbox table, through an engine whose connections only the relay uses (`relay_engine`)."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # Questions without a transaction of their own: one round trip instead of three.
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def has_work(self, topics: Sequence[str]) -> bool:
        """Whether a row of these topics is due, locked ones included."""
        with storage_errors():
            async with self._plain.connect() as connection:
                return bool(await connection.scalar(_HAS_WORK, {"topics": list(topics)}))

    @asynccontextmanager
    async def take(
        self, topics: Sequence[str], fresh: int, waited: int, share: Share = EVERYTHING
    ) -> AsyncIterator[_HeldRows]:
        """Lock rows that are due; they are free again when the block ends, whichever way it ends."""
        with storage_errors():
            async with self._engine.begin() as connection:
                wanted = {
                    "topics": list(topics),
                    "fresh": fresh,
                    "bytes": MAX_BYTES,
                    "waited": waited,
                    "share": share.number,
                    "shares": share.of,
                }
                taken = await connection.execute(_TAKE, wanted)
                yield _HeldRows(
                    connection,
                    [
                        OutboxRow(row.id, row.topic, row.key, bytes(row.event), row.attempts, row.waited)
                        for row in taken
                    ],
                )

    async def state(self) -> OutboxState:
        """Count the table."""
        with storage_errors():
            async with self._plain.connect() as connection:
                row = (await connection.execute(_STATE)).one()
        return OutboxState(depth=row.depth, oldest_age=float(row.oldest_age), parked=row.parked)


class _HeldRows:
    """Rows locked by `connection`'s open transaction."""

    def __init__(self, connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
        self._connection = connection
        self.rows = rows

    async def settle(self, published: Sequence[UUID], failures: Sequence[Failure]) -> None:
        """Delete what was published and write down what failed; committed when the block that took the rows ends."""
        if published:
            await self._connection.execute(_PUBLISHED, {"ids": list(published)})
        if failures:
            await self._connection.execute(
                _FAILED,
                {
                    "ids": [failure.row.id for failure in failures],
                    "attempts": [failure.attempts for failure in failures],
                    "delays": [failure.delay for failure in failures],
                    "reasons": [failure.reason[:_REASON_MAX] for failure in failures],
                    "parked": [failure.parked for failure in failures],
                },
            )
