"""The command: every part is asked, whatever the others answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Annotated

import typer

from event_contracts.topics import SERVICES
from taskstream_cli.doctor.broker import look_at_kafka
from taskstream_cli.doctor.exporter import look_at_exporter
from taskstream_cli.doctor.patience import until_well
from taskstream_cli.doctor.report import Finding, Report
from taskstream_cli.doctor.services import compare_versions, look_at_service
from taskstream_cli.doctor.stores import look_at_postgres, look_at_redis
from taskstream_cli.failing import run
from taskstream_cli.places import LOCAL_KAFKA, Bootstrap, Database, RedisUrl

SKEW = timedelta(milliseconds=500)
"""Reminders go by Redis' clock and are told by PostgreSQL's: further apart, they come early or late."""

Token = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="APP_API_TOKEN", help="The services' app token; without it, less is checked."
    ),
]

Exporter = Annotated[
    str | None,
    typer.Option(
        "--exporter-url",
        envvar="EXPORTER_URL",
        help="Where `taskstream exporter` answers; unset: not looked at.",
    ),
]


Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to ask again while something is wrong.")]


def command(
    database_url: Database,
    redis_url: RedisUrl,
    bootstrap: Bootstrap = LOCAL_KAFKA,
    token: Token = None,
    exporter_url: Exporter = None,
    wait: Wait = 0.0,
) -> None:
    """Look at every part and say what to do; ends with 1 when something is wrong."""
    look = partial(examine, database_url, redis_url, bootstrap, token, exporter_url)
    report = run(until_well(look, wait, _tell))
    for part, line in report.seen.items():
        typer.echo(f"     {part:11} {line}")
    for finding in report.findings:
        typer.echo(f"  !  {finding.part:11} {finding.sentence}")
    typer.echo(f"{len(report.findings)} things to do" if report.findings else "all is well")
    if report.findings:
        raise typer.Exit(1)


def _tell(finding: Finding) -> None:
    typer.echo(f"  …  {finding.part:11} {finding.sentence}", err=True)


async def examine(
    database_url: str, redis_url: str, bootstrap: str, token: str | None, exporter_url: str | None = None
) -> Report:
    """Look at everything; raises nothing for what is away, that is a finding."""
    report = Report()
    await look_at_postgres(report, database_url)
    await asyncio.gather(
        look_at_redis(report, redis_url),
        look_at_kafka(report, bootstrap),
        look_at_exporter(report, exporter_url),
        *(look_at_service(report, service, token) for service in SERVICES),
    )
    compare_versions(report)
    compare_clocks(report)
    return report


def compare_clocks(report: Report) -> None:
    """Say so when two clocks are further apart than SKEW, and than what was measured can be wrong by."""
    if not report.clocks:
        return
    first = min(report.clocks, key=lambda one: one.offset)
    last = max(report.clocks, key=lambda one: one.offset)
    apart = last.offset - first.offset
    if apart - first.error - last.error > SKEW:
        report.find(
            "clocks",
            f"The clock of {last.part} is {apart.total_seconds():.1f} s ahead of that of {first.part}: "
            "have both machines keep time by NTP.",
        )
