"""PostgreSQL and Redis: do they answer, are they set as they must be, and what waits in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from redis.exceptions import RedisError

from taskstream_cli.doctor.report import ClockReading, Report
from taskstream_cli.failing import Unable
from taskstream_cli.markers import DERIVING, connect_redis, read_marker
from taskstream_cli.places import connect_database
from taskstream_cli.spans import span

OLDEST_POSTGRES = 15
OLDEST_REDIS = 7
OUTBOX_OLD = timedelta(seconds=60)
MEMORY_NEARLY_FULL = 0.9

_STATE = """
    SELECT (SELECT value FROM epoch) AS epoch,
           (SELECT since FROM lockdown) AS locked_since,
           count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked,
           count(*) FILTER (WHERE parked_at IS NULL) AS waiting,
           coalesce(clock_timestamp() - min(created_at) FILTER (WHERE parked_at IS NULL), interval '0') AS oldest
    FROM outbox
"""


async def look_at_postgres(report: Report, url: str) -> None:
    try:
        connection = await connect_database(url, timeout=5)
    except Unable as error:
        report.find("postgres", str(error))
        return
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
        report.find(
            "postgres", f"It does not let us in ({error or 'no answer'}): start it, or mend DATABASE_URL."
        )
        return
    try:
        before = datetime.now(UTC)
        now = await connection.fetchval("SELECT clock_timestamp()")
        report.clocks.append(reading("postgres", now, before, datetime.now(UTC)))
        version = connection.get_server_version()
        report.seen["postgres"] = await connection.fetchval("SHOW server_version")
        if version.major < OLDEST_POSTGRES:
            report.find(
                "postgres", f"It is version {version.major}: upgrade it to {OLDEST_POSTGRES} or newer."
            )
        state = await connection.fetchrow(_STATE)
    except asyncpg.UndefinedTableError:
        report.find("postgres", "Tables are missing: run `python -m task_api migrate`.")
        return
    except (TimeoutError, asyncpg.PostgresError) as error:
        report.find("postgres", f"It refused a question ({error}): look into its log.")
        return
    finally:
        await connection.close()
    report.epoch = state["epoch"]
    report.seen["postgres"] += f", epoch {state['epoch']}, {state['waiting']} events wait"
    if state["locked_since"] is not None:
        report.find("postgres", "The API is locked: `taskstream lockdown --lift` opens it again.")
    if state["parked"]:
        report.find("outbox", f"{state['parked']} events are parked: `taskstream outbox list` says why.")
    if state["oldest"] > OUTBOX_OLD:
        report.find(
            "outbox",
            f"The oldest event waits for {span(state['oldest'])}: is task-api up, and its sidecar, and Kafka?",
        )


async def look_at_redis(report: Report, url: str) -> None:
    """Needs the epoch that `look_at_postgres` notes, to compare the markers with."""
    try:
        async with connect_redis(url) as redis:
            before = datetime.now(UTC)
            seconds, microseconds = await redis.time()
            after = datetime.now(UTC)
            info = await redis.info()
            markers = {service: await read_marker(redis, service) for service in DERIVING}
    except Unable as error:
        report.find("redis", str(error))
        return
    except RedisError as error:
        report.find("redis", f"It does not let us in ({error}): start it, or mend REDIS_URL.")
        return
    now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
    report.clocks.append(reading("redis", now, before, after))
    report.seen["redis"] = f"{info['redis_version']}, {info['used_memory_human']}"
    _check_settings(report, info)
    for service, marker in markers.items():
        if marker is None:
            report.find(
                service, "It has no marker in Redis: start it, and see in `GET /health` what it waits for."
            )
        elif marker.in_progress:
            report.find(service, "It is building its documents: wait until its /health/ready is green.")
        elif report.epoch is not None and marker.epoch != report.epoch:
            report.find(
                service,
                f"Its documents are of epoch {marker.epoch}, PostgreSQL is of {report.epoch}: "
                f"wait a minute, then `taskstream rebuild {service}`.",
            )


def _check_settings(report: Report, info: dict[str, object]) -> None:
    if int(str(info["redis_version"]).partition(".")[0]) < OLDEST_REDIS:
        report.find("redis", f"It is version {info['redis_version']}: upgrade it to {OLDEST_REDIS} or newer.")
    if info["maxmemory_policy"] != "noeviction":
        report.find(
            "redis",
            f"maxmemory-policy is {info['maxmemory_policy']}: set noeviction, or reminders get lost.",
        )
    if not info["aof_enabled"]:
        report.find(
            "redis", "It keeps no append-only file: set appendonly yes, or a restart loses everything."
        )
    elif info.get("aof_last_write_status") != "ok":
        report.find("redis", "It cannot write its append-only file: look at its disk.")
    used, most = int(str(info["used_memory"])), int(str(info["maxmemory"]))
    if most and used > most * MEMORY_NEARLY_FULL:
        report.find(
            "redis",
            f"{used * 100 // most} % of maxmemory is used: give it more, writes fail when it is full.",
        )


def reading(part: str, shown: datetime, before: datetime, after: datetime) -> ClockReading:
    """What a clock showed at some moment between two looks at ours."""
    half = (after - before) / 2
    return ClockReading(part, shown - (before + half), half)
