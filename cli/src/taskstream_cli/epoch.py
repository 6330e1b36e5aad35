"""`taskstream epoch`: tell everybody that PostgreSQL was restored, so that what came after the backup is forgotten."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from taskstream_cli.failing import run
from taskstream_cli.markers import DERIVING, connect_redis, read_marker
from taskstream_cli.places import Database, connect_database

app = typer.Typer(help="Which PostgreSQL this is: raised after a restore.", no_args_is_help=True)

# Seconds since 2026 and no mere count: the same backup restored twice must not give the same epoch twice.
_RAISE = """
    WITH raised AS (
        UPDATE epoch SET
            value = greatest(
                value + 1, extract(epoch FROM clock_timestamp() - timestamptz '2026-01-01 00:00Z')::integer
            ),
            raised_at = clock_timestamp()
        RETURNING value
    ), noted AS (
        INSERT INTO audit_log (id, at, action, succeeded, detail)
        SELECT gen_random_uuid(), clock_timestamp(), 'epoch_raised', true,
               jsonb_build_object('epoch', value, 'reason', $1::text)
        FROM raised
    )
    SELECT value FROM raised
"""

RedisUrl = Annotated[
    str | None, typer.Option("--redis-url", envvar="REDIS_URL", help="To show what the services know.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


async def raise_epoch(database_url: str, reason: str) -> int:
    """The new epoch: above every one that this database, or another restored from the same backup, ever had."""
    connection = await connect_database(database_url)
    try:
        return int(await connection.fetchval(_RAISE, reason))
    finally:
        await connection.close()


async def read_epoch(database_url: str) -> tuple[int, datetime]:
    """The epoch, and when it was last raised."""
    connection = await connect_database(database_url)
    try:
        row = await connection.fetchrow("SELECT value, raised_at FROM epoch")
        return row["value"], row["raised_at"]
    finally:
        await connection.close()


@app.command()
def show(database_url: Database, redis_url: RedisUrl = None) -> None:
    """Print the epoch of the database, and those that the services have built from."""
    value, raised_at = run(read_epoch(database_url))
    typer.echo(f"{'postgres':12} {value}, since {raised_at:%Y-%m-%d %H:%M:%S} UTC")
    for service, epoch in run(_known(redis_url)).items() if redis_url else ():
        typer.echo(f"{service:12} {'-' if epoch is None else epoch}")


async def _known(redis_url: str) -> dict[str, int | None]:
    async with connect_redis(redis_url) as redis:
        markers = {service: await read_marker(redis, service) for service in DERIVING}
    return {service: None if marker is None else marker.epoch for service, marker in markers.items()}


@app.command("raise")
def raise_it(database_url: Database, reason: Reason = "restored from a backup", yes: Yes = False) -> None:
    """Raise the epoch after a restore: the services forget events from before, and build anew within a minute."""
    if not yes:
        typer.confirm("Every service builds its documents again. Go on?", abort=True)
    typer.echo(f"epoch {run(raise_epoch(database_url, reason))}")
