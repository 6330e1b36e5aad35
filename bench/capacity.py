"""From what one request, event and reminder cost here to what so many people need: arithmetic, and nothing is measured.

`python -m bench.pages` writes what it gives into docs/scale.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

GIB = 2**30
_DAY = 86_400.0
POPULATIONS = (100, 10_000, 100_000, 1_000_000, 10_000_000)


@dataclass(frozen=True)
class Costs:
    """What one of each takes, as measured: milliseconds of processor time, bytes of memory or disk."""

    api_create: float
    api_get: float
    api_list: float
    database_create: float
    database_get: float
    database_list: float
    sidecar_event: float
    kafka_event: float
    handled_event: float
    fired_reminder: float
    inbox_entry: float
    handler_seconds: float
    task_bytes: float
    ledger_bytes: float
    open_task_bytes: float
    entry_bytes: float
    stream_bytes: float
    service_bytes: float
    sidecar_bytes: float

    @classmethod
    def of(cls, figures: Iterable[Mapping[str, Any]]) -> Costs:
        """Read the figures of a result. Raises KeyError for one that is not in it."""
        found = {(one["part"], one["name"]): float(one["value"]) for one in figures}

        def like(part: str, begin: str) -> float:
            for (of_part, name), value in found.items():
                if of_part == part and name.startswith(begin):
                    return value
            raise KeyError(f"{part}: {begin}")

        def cpu(kind: str, process: str) -> float:
            return found["system", f"{kind}: processor time of {process}"]

        return cls(
            api_create=cpu("create", "task-api"),
            api_get=cpu("get", "task-api"),
            api_list=cpu("list", "task-api"),
            database_create=cpu("create", "postgres"),
            database_get=cpu("get", "postgres"),
            database_list=cpu("list", "postgres"),
            sidecar_event=found["relay", "processor time of task-api.dapr"],
            kafka_event=found["relay", "processor time of kafka"],
            handled_event=_ending(found, "backlog", "processor time of reminders"),
            fired_reminder=like("reminders", "processor time of one that fires"),
            inbox_entry=1000 / found["notifier", "inbox entries written"],
            handler_seconds=found["flow", "commit to handler, idle, p50"] / 1000,
            task_bytes=found["system", "a task on disk, with its indexes"],
            ledger_bytes=found["system", "history, activity and reminder of a new task, on disk"],
            open_task_bytes=found["system", "an open task with a reminder, in Redis"],
            entry_bytes=found["notifier", "memory of an inbox entry"],
            stream_bytes=like("notifier", "memory of a live stream") * 1024,
            service_bytes=found["system", "memory of task-api, loaded"] * 2**20,
            sidecar_bytes=found["system", "memory of task-api.dapr, loaded"] * 2**20,
        )


def _ending(found: Mapping[tuple[str, str], float], part: str, end: str) -> float:
    for (of_part, name), value in found.items():
        if of_part == part and name.endswith(end):
            return value
    raise KeyError(f"{part}: … {end}")


@dataclass(frozen=True)
class Profile:
    """What people do. Assumed: change it to your people's ways."""

    active: float = 0.3
    """The part of all who do something on a day; the numbers below are theirs, for a day."""
    created: float = 5
    changed: float = 8
    got: float = 20
    listed: float = 40
    reminded: float = 3
    kept: float = 1_000
    """Tasks that one has, done ones included."""
    open: float = 20
    """Tasks that one has ahead, each with a reminder."""
    inbox: float = 300
    """Entries that one's inbox keeps: a year's, at the numbers above."""
    streams: float = 0.05
    """The part of all who have a live stream open at the busiest time."""
    peak: float = 5
    """The busiest second to the average one."""
    event_bytes: float = 1_400
    retention_days: float = 7
    replication: int = 3


@dataclass(frozen=True)
class Sizes:
    """What one unit may be, and what it costs a month in euros. Assumed: prices differ by a factor of three."""

    machine_cores: int = 8
    machine_bytes: float = 32 * GIB
    machine_price: float = 60.0
    disk_price_gib: float = 0.05
    full: float = 0.6
    """How far a core is filled at the busiest time."""
    database_cores: int = 32
    database_bytes: float = 4_096 * GIB
    redis_bytes: float = 16 * GIB
    broker_cores: int = 8
    broker_bytes: float = 4_096 * GIB
    small_price: float = 8.0
    """A machine of 2 cores and 4 GiB, which is enough for a family or a small company."""
    small_cores: float = 2
    small_bytes: float = 4 * GIB


@dataclass(frozen=True)
class Need:
    """What so many people need at their busiest time."""

    people: int
    requests: float
    events: float
    api_cores: float
    sidecar_cores: float
    handler_cores: float
    database_cores: float
    kafka_cores: float
    api_replicas: int
    handler_replicas: int
    streams: float
    partitions: int
    redis_gib: float
    redis_shards: int
    database_gib: float
    database_primaries: int
    read_replicas: int
    kafka_gib: float
    brokers: int
    machines: float
    euros: float
    euros_per_million_tasks: float


def need(people: int, costs: Costs, profile: Profile = Profile(), sizes: Sizes = Sizes()) -> Need:
    """Work out what `people` need."""
    each_second = people * profile.active * profile.peak / _DAY
    writes = (profile.created + profile.changed) * each_second
    gets, lists, fired = (n * each_second for n in (profile.got, profile.listed, profile.reminded))
    # A write is one event to three consumers, and mostly one that the reminder is scheduled; a reminder that fires is
    # one event to two, and one that it was delivered.
    published = 2 * writes + 2 * fired
    handled = (3 + 1) * writes + (2 + 1) * fired
    api = (writes * costs.api_create + gets * costs.api_get + lists * costs.api_list) / 1000
    sidecars = published * costs.sidecar_event / 1000
    handlers = (handled * costs.handled_event + fired * (costs.fired_reminder + costs.inbox_entry)) / 1000
    writing = writes * costs.database_create / 1000
    reading = (gets * costs.database_get + lists * costs.database_list) / 1000
    kafka = (published * costs.kafka_event) / 1000
    redis = people * (profile.open * costs.open_task_bytes + profile.inbox * costs.entry_bytes)
    # Each change of a task is told as its making is: a row of history, one of activity.
    told = 1 + profile.changed / profile.created
    disk = people * profile.kept * (costs.task_bytes + told * costs.ledger_bytes)
    log = published / profile.peak * _DAY * profile.retention_days * profile.event_bytes * profile.replication
    primaries = _at_least(1, writing / sizes.full / sizes.database_cores, disk / sizes.database_bytes)
    api_replicas = _at_least(1, api / sizes.full)
    handler_replicas = _at_least(3, handlers / sizes.full)
    streams = people * profile.streams
    small = people <= 100
    memory = (
        (api_replicas + handler_replicas) * (costs.service_bytes + costs.sidecar_bytes)
        + streams * costs.stream_bytes
        + redis
        + disk * 0.1
        + GIB
    )
    cores = (api + sidecars + handlers + writing + reading + kafka) / sizes.full
    machines = max(cores / sizes.machine_cores, memory / sizes.machine_bytes)
    fits = small or (cores <= sizes.small_cores and memory <= sizes.small_bytes)
    price = sizes.small_price if fits else sizes.machine_price * math.ceil(machines)
    euros = price + (disk + log) / GIB * sizes.disk_price_gib
    created_a_month = people * profile.active * profile.created * 30
    return Need(
        people=people,
        requests=writes + gets + lists,
        events=published,
        api_cores=api,
        sidecar_cores=sidecars,
        handler_cores=handlers,
        database_cores=writing + reading,
        kafka_cores=kafka,
        api_replicas=api_replicas,
        handler_replicas=handler_replicas,
        streams=streams,
        partitions=_at_least(6, writes * costs.handler_seconds / sizes.full),
        redis_gib=redis / GIB,
        redis_shards=_at_least(1, redis / sizes.redis_bytes),
        database_gib=disk / GIB,
        database_primaries=primaries,
        read_replicas=_at_least(0, reading / sizes.full / sizes.database_cores - primaries),
        kafka_gib=log / GIB,
        brokers=_at_least(
            1 if small else 3, kafka / sizes.full / sizes.broker_cores, log / sizes.broker_bytes
        ),
        machines=sizes.small_cores / sizes.machine_cores if fits else math.ceil(machines),
        euros=euros,
        euros_per_million_tasks=euros / created_a_month * 1e6,
    )


def _at_least(least: int, *wanted: float) -> int:
    return max(least, *(math.ceil(one) for one in wanted))


@dataclass(frozen=True)
class Bound:
    """What ends first: at `people`, `what` is used up, and `moved_by` says what moves it."""

    people: float
    what: str
    moved_by: str


def bounds(costs: Costs, profile: Profile = Profile(), sizes: Sizes = Sizes()) -> list[Bound]:
    """Give how many people one process of each kind, six partitions, one PostgreSQL and one Redis take, the fewest
    first. Each grows with the people by itself, so one look at a thousand of them tells."""
    at = 1_000
    one = need(at, costs, profile, sizes)
    per_event = one.handler_cores
    writes = at * profile.active * profile.peak / _DAY * (profile.created + profile.changed)
    found = [
        Bound(at * sizes.full / one.api_cores, "a process of task-api, one core", "replicas: it keeps nothing"),
        Bound(at * sizes.full * 3 / per_event, "one process of each consumer", "replicas, as many as partitions"),
        Bound(
            at * 6 * sizes.full / (writes * costs.handler_seconds), "six partitions, one event in flight in each",
            "more partitions; a key keeps to one",
        ),
        Bound(
            at * sizes.database_cores * sizes.full / one.database_cores, "the processor of one PostgreSQL",
            "read replicas for lists, then tasks divided by user",
        ),
        Bound(at * sizes.database_bytes / GIB / one.database_gib, "the disk of one PostgreSQL",
              "tables partitioned by user; old tasks archived"),
        Bound(at * sizes.redis_bytes / GIB / one.redis_gib, "the memory of one Redis",
              "fewer entries an inbox keeps, then shards on Redis Cluster, by hash tags"),
        Bound(at * 20_000 / one.streams, "live streams of one notifier", "replicas: a stream is read from Redis"),
        Bound(at * sizes.broker_cores * sizes.full / one.kafka_cores, "the processor of one broker", "brokers"),
    ]  # fmt: skip
    return sorted(found, key=lambda bound: bound.people)


ROWS: tuple[tuple[str, str], ...] = (
    ("requests", "requests a second, busiest"),
    ("events", "events a second, busiest"),
    ("api_cores", "cores: task-api"),
    ("sidecar_cores", "cores: sidecars that publish"),
    ("handler_cores", "cores: reminders, recurrence, notifier, sidecars, Redis"),
    ("database_cores", "cores: PostgreSQL"),
    ("kafka_cores", "cores: Kafka"),
    ("api_replicas", "processes of task-api"),
    ("handler_replicas", "processes of the consumers, all three"),
    ("partitions", "partitions of a task topic"),
    ("streams", "live streams open"),
    ("redis_gib", "Redis, GiB"),
    ("redis_shards", "Redis, shards"),
    ("database_gib", "PostgreSQL, GiB on disk"),
    ("database_primaries", "PostgreSQL, primaries (tasks by user)"),
    ("read_replicas", "PostgreSQL, read replicas"),
    ("kafka_gib", "Kafka, GiB on disk, three copies of a week"),
    ("brokers", "Kafka, brokers"),
    ("machines", "machines of 8 cores and 32 GiB"),
    ("euros", "€ a month"),
    ("euros_per_million_tasks", "€ for a million new tasks"),
)
assert {name for name, _ in ROWS} | {"people"} == {one.name for one in fields(Need)}
