"""`taskstream lockdown`: end every session and key, and close the API, in one transaction of the database.

It needs nothing but the database: not the service, which may be what is broken into.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from taskstream_cli.failing import run
from taskstream_cli.places import Database, connect_database

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]
Lift = Annotated[bool, typer.Option("--lift", help="Open again. Everybody has to log in anew.")]
Status = Annotated[bool, typer.Option("--status", help="Only say whether it is locked.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


async def lock_down(database_url: str, reason: str) -> tuple[int, int]:
    """Close; gives how many sessions and API keys ended. Again, it ends what came in since."""
    connection = await connect_database(database_url)
    try:
        row = await connection.fetchrow("SELECT sessions, keys FROM lock_down($1)", reason)
        return row["sessions"], row["keys"]
    finally:
        await connection.close()


async def lift(database_url: str) -> bool:
    """Open again; False when it was open."""
    connection = await connect_database(database_url)
    try:
        return bool(await connection.fetchval("SELECT lift_lockdown()"))
    finally:
        await connection.close()


async def status(database_url: str) -> tuple[datetime, str] | None:
    """Since when it is locked, and why; None when it is open."""
    connection = await connect_database(database_url)
    try:
        row = await connection.fetchrow("SELECT since, reason FROM lockdown WHERE since IS NOT NULL")
        return None if row is None else (row["since"], row["reason"])
    finally:
        await connection.close()


def command(
    database_url: Database,
    reason: Reason = "pulled by an operator",
    lift_it: Lift = False,
    only_status: Status = False,
    yes: Yes = False,
) -> None:
    """End every session and API key and close the API, within a second and on every replica."""
    if not (yes or only_status or lift_it):
        typer.confirm("This logs everybody out, revokes all API keys and closes the API. Go on?", abort=True)
    run(_carry_out(database_url, reason, lift_it, only_status))


async def _carry_out(database_url: str, reason: str, lift_it: bool, only_status: bool) -> None:
    if only_status:
        found = await status(database_url)
        typer.echo(f"locked since {found[0]:%Y-%m-%d %H:%M:%S} UTC: {found[1]}" if found else "open")
    elif lift_it:
        was_locked = await lift(database_url)
        typer.echo("open again: everybody logs in anew" if was_locked else "nothing to do: it was open")
    else:
        sessions, keys = await lock_down(database_url, reason)
        typer.echo(f"locked: {sessions} sessions and {keys} API keys ended")
        typer.echo(
            "every replica of task-api refuses within a second; `taskstream lockdown --lift` opens again"
        )
