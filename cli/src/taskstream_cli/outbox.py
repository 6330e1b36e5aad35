"""`taskstream outbox`: what task-api committed and the broker has not taken. It needs the database alone.

The relay never touches a parked row, so what is done to one here is done by nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import typer

from taskstream_cli.failing import Unable, fail, run
from taskstream_cli.places import Database, connect_database
from taskstream_cli.spans import span

app = typer.Typer(help="Events that were committed and are not published.", no_args_is_help=True)

_ROWS = """
    SELECT id, topic, key, attempts, last_error, parked_at IS NOT NULL AS parked,
           clock_timestamp() - created_at AS age
    FROM outbox
    WHERE parked_at IS NOT NULL OR created_at <= clock_timestamp() - make_interval(secs => $1)
    ORDER BY created_at, id LIMIT $2
"""
_STATUS = """
    SELECT topic, count(*) FILTER (WHERE parked_at IS NULL) AS waiting,
           count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked,
           max(clock_timestamp() - created_at) AS oldest
    FROM outbox GROUP BY topic ORDER BY topic
"""
# As if it were new, so that one more failure does not park it again.
_RETRY = """
    UPDATE outbox SET parked_at = NULL, attempts = 0, next_attempt_at = clock_timestamp()
    WHERE parked_at IS NOT NULL AND ($1::uuid[] IS NULL OR id = ANY($1)) RETURNING id
"""
_DISCARD = """
    WITH gone AS (
        DELETE FROM outbox WHERE parked_at IS NOT NULL AND ($1::uuid[] IS NULL OR id = ANY($1)) RETURNING *
    ), noted AS (
        INSERT INTO audit_log (id, at, action, succeeded, detail)
        SELECT gen_random_uuid(), clock_timestamp(), 'outbox_discarded', true, jsonb_build_object(
            'event_id', id, 'topic', topic, 'key', key, 'last_error', last_error, 'reason', $2::text
        ) FROM gone
    )
    SELECT id FROM gone
"""

Ids = Annotated[list[UUID] | None, typer.Argument(help="Event ids, as `list` prints them.")]
Everything = Annotated[bool, typer.Option("--all", help="All that are parked.")]
OlderThan = Annotated[
    float, typer.Option("--older-than", min=0, help="Seconds after which one that waits is listed.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
Reason = Annotated[str, typer.Option("--reason", help="Why it is not needed; it is kept in the audit log.")]


@dataclass(frozen=True)
class Row:
    """One event that waits."""

    id: UUID
    topic: str
    key: str
    attempts: int
    last_error: str | None
    parked: bool
    age: timedelta


async def listed(database_url: str, older_than: float, limit: int) -> list[Row]:
    """The parked rows, and those that wait for longer than `older_than` seconds, the oldest first."""
    return [Row(**row) for row in await _ask(database_url, _ROWS, older_than, limit)]


async def retry(database_url: str, ids: Sequence[UUID] | None) -> list[UUID]:
    """Have parked rows tried again, all when `ids` is None. Raises Unable when one of them is not parked."""
    return await _on_parked(database_url, _RETRY, ids)


async def discard(database_url: str, ids: Sequence[UUID] | None, reason: str) -> list[UUID]:
    """Delete parked rows and say so in the audit log. Raises Unable when one of them is not parked."""
    return await _on_parked(database_url, _DISCARD, ids, reason)


async def _on_parked(database_url: str, statement: str, ids: Sequence[UUID] | None, *more: str) -> list[UUID]:
    wanted = None if ids is None else sorted(set(ids))
    connection = await connect_database(database_url)
    try:
        async with connection.transaction():
            done = [row["id"] for row in await connection.fetch(statement, wanted, *more)]
            if wanted is not None and (others := [str(one) for one in wanted if one not in done]):
                raise Unable(f"Not parked: {', '.join(others)}. Nothing was done.")
    finally:
        await connection.close()
    return done


async def _ask(database_url: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    connection = await connect_database(database_url)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


@app.command()
def status(database_url: Database) -> None:
    """Print how many events wait and are parked, by topic."""
    found = run(_ask(database_url, _STATUS))
    for row in found:
        typer.echo(
            f"{row['topic']:26} {row['waiting']:>7} waiting {row['parked']:>6} parked, "
            f"the oldest for {span(row['oldest'])}"
        )
    if not found:
        typer.echo("the outbox is empty")


@app.command("list")
def list_rows(database_url: Database, older_than: OlderThan = 60.0, limit: Limit = 100) -> None:
    """Print the parked events, and those that wait for long."""
    rows = run(listed(database_url, older_than, limit))
    for row in rows:
        typer.echo(
            f"{row.id} {'parked' if row.parked else 'waits':6} {span(row.age):>5} {row.topic:16} key {row.key} "
            f"{row.attempts} failures of its own: {row.last_error or '-'}"
        )
    if not rows:
        typer.echo("nothing is parked, and nothing waits for long")


@app.command("retry")
def retry_rows(database_url: Database, ids: Ids = None, everything: Everything = False) -> None:
    """Have parked events tried again, as if they were new."""
    done = run(retry(database_url, _chosen(ids, everything)))
    typer.echo(f"{len(done)} will be tried again within a second")


@app.command("discard")
def discard_rows(
    database_url: Database, reason: Reason, ids: Ids = None, everything: Everything = False
) -> None:
    """Delete parked events; their consumers never hear of them."""
    if not reason.strip():
        fail("Say why with --reason.")
    done = run(discard(database_url, _chosen(ids, everything), reason.strip()))
    typer.echo(f"{len(done)} discarded")


def _chosen(ids: Sequence[UUID] | None, everything: bool) -> Sequence[UUID] | None:
    """The ids, or None for all."""
    if bool(ids) == everything:
        fail("Name the events, or say --all.")
    return None if everything else ids
