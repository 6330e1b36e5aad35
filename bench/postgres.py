"""The benchmark's own way to PostgreSQL: fills tables, watches the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from uuid import UUID

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from bench.events import OutboxRow

_CHUNK = 50_000
_DRAIN_SECONDS = 600.0

_WORDS = """water plants send tax return call dentist book train write report review budget plan garden clean kitchen
buy milk renew passport pay rent fix bicycle read paper learn song visit museum order parts paint fence wash car cook
dinner update server rotate keys measure latency draw map sort photos mend coat bake bread feed cat charge battery
answer letter ask landlord check smoke alarm empty cellar find tenant hang picture"""

# Ids carry the moment they were made, as UUIDv7 do; a third of the tasks is done; the texts repeat themselves as
# people's texts do. $1 owners, $2 and $3 the first and last row, $4 words.
_FILL = r"""
    INSERT INTO tasks (id, user_id, number, title, description, status, priority, tags, due_at, due_instant, timezone,
        completed_at, closed_by, closed_version, closed_at, metadata, version, created_at, updated_at)
    SELECT (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7' || substr(digest, 1, 3)
            || 'a' || substr(digest, 4, 15))::uuid,
        owner, i, w1 || ' ' || w2 || ' ' || w3, CASE WHEN i % 4 = 0 THEN w2 || ' and ' || w1 END,
        CASE WHEN done THEN 'completed' ELSE 'pending' END, (ARRAY['low', 'medium', 'high', 'urgent'])[1 + i % 4],
        ARRAY[w3], due, due, 'UTC',
        CASE WHEN done THEN made END, CASE WHEN done THEN 'completed' END, CASE WHEN done THEN 1 END,
        CASE WHEN done THEN made END, '{}', 1, made, made
    FROM (
        SELECT i, digest, i % 3 = 2 AS done, now() - make_interval(secs => 3e7 - i * 25) AS made,
            CASE WHEN i % 2 = 0 THEN now() + make_interval(hours => 1 + i % 9000) END AS due,
            ($1::uuid[])[1 + i % cardinality($1::uuid[])] AS owner,
            words[1 + ('x' || substr(digest, 1, 4))::bit(16)::int % cardinality(words)] AS w1,
            words[1 + ('x' || substr(digest, 5, 4))::bit(16)::int % cardinality(words)] AS w2,
            words[1 + ('x' || substr(digest, 9, 4))::bit(16)::int % cardinality(words)] AS w3
        FROM (SELECT i, md5(i::text) AS digest FROM generate_series($2::int, $3::int) AS i) AS numbered,
            regexp_split_to_array($4, '\s+') AS words
    ) AS made_up
"""

_STRANGERS = """
    INSERT INTO users (id, email, email_key, password_hash)
    SELECT gen_random_uuid(), 'stranger-' || i || '@example.com', 'stranger-' || i || '@example.com', '-'
    FROM generate_series(1, $1::int) AS i RETURNING id
"""


class Store:
    """One connection, as the owner of the tables."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> AsyncIterator[Store]:
        """Open the database at a `postgresql://` address."""
        connection = await asyncpg.connect(url)
        try:
            yield cls(connection)
        finally:
            await connection.close()

    async def fill(self, owners: Sequence[UUID], first: int, last: int) -> None:
        """Add the tasks numbered `first` to `last`, dealt to the owners in turn, then tidy up as autovacuum would."""
        # The counter of changes would note every row; nobody reads these meanwhile.
        await self._connection.execute("ALTER TABLE tasks DISABLE TRIGGER USER")
        for begin in range(first, last + 1, _CHUNK):
            await self._connection.execute(
                _FILL, list(owners), begin, min(begin + _CHUNK - 1, last), _WORDS, timeout=600
            )
        await self._connection.execute("ALTER TABLE tasks ENABLE TRIGGER USER")
        # The next number of each of them is one that nobody has.
        await self._connection.execute(
            "UPDATE users SET last_task_number = greatest(last_task_number, $2) WHERE id = ANY($1::uuid[])",
            list(owners),
            last,
        )
        await self._connection.execute("VACUUM (ANALYZE) tasks", timeout=600)

    async def strangers(self, count: int) -> list[UUID]:
        """Make accounts that nobody logs in to."""
        return [row["id"] for row in await self._connection.fetch(_STRANGERS, count)]

    async def clear(self) -> None:
        """Take all tasks away."""
        await self._connection.execute("TRUNCATE tasks CASCADE")
        await self._connection.execute("UPDATE users SET last_task_number = 0")

    async def open_tasks(self, owners: Sequence[UUID]) -> dict[UUID, list[UUID]]:
        """Give the ids of the open tasks of each owner, the newest first."""
        rows = await self._connection.fetch(
            "SELECT user_id, id FROM tasks WHERE user_id = ANY($1::uuid[]) AND closed_by IS NULL ORDER BY id DESC",
            list(owners),
        )
        found: dict[UUID, list[UUID]] = {owner: [] for owner in owners}
        for row in rows:
            found[row["user_id"]].append(row["id"])
        return found

    async def enqueue(self, rows: Sequence[OutboxRow]) -> None:
        """Put events into the outbox in one commit, as if as many tasks had been made at once."""
        await self._connection.copy_records_to_table(
            "outbox", records=rows, columns=("id", "topic", "key", "event"), timeout=600
        )

    async def tasks(self, owners: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
        """Give owner and id of all their tasks."""
        rows = await self._connection.fetch(
            "SELECT user_id, id FROM tasks WHERE user_id = ANY($1::uuid[])", list(owners)
        )
        return [(row["user_id"], row["id"]) for row in rows]

    async def bytes_a_task(self) -> float:
        """Give what a task takes on disk: its row, its part of every index and of what is stored apart."""
        return float(
            await self._connection.fetchval(
                "SELECT pg_total_relation_size('tasks')::float / greatest(count(*), 1) FROM tasks"
            )
        )

    async def bytes_of(self, *tables: str) -> int:
        """Give what these tables take on disk, with their indexes and what is stored apart."""
        return int(
            await self._connection.fetchval(
                "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest($1::text[]) AS name", tables
            )
        )

    async def count(self, table: str) -> int:
        """Give the number of rows."""
        return int(await self._connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def until_published(self) -> float:
        """Wait until the outbox is empty and give the seconds that took. Raises TimeoutError."""
        began = perf_counter()
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await self._connection.fetchval("SELECT EXISTS (SELECT FROM outbox)"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return perf_counter() - began
