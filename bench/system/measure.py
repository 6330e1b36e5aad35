"""What is measured of a running system. Seconds, bytes, and milliseconds of processor time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import requests
from bench.http_client import Connection, encode
from bench.load import Block, Requests, arrivals, closed_loop, open_loop
from bench.place import Place, found
from bench.postgres import Store
from bench.redis_memory import used_memory
from bench.requests import Person
from redis.asyncio import Redis

CLIENTS = 8
CONNECTIONS = 1_000
HEALTH_RATE = 100.0
PEOPLE = 32
TASKS_EACH = 10
LEDGERS = ("task_history", "task_activity", "task_reminders")
_TOLD_AFTER, _TOLD_WITHIN = 3.0, 300.0
WORKERS = ("task-api", "task-api.dapr", "postgres", "redis", "kafka")


@dataclass(frozen=True)
class Plan:
    """Seconds of each stretch, and how many people have tasks."""

    seconds: float
    idle: float
    strangers: int


FULL = Plan(seconds=10, idle=15, strangers=10_000)
QUICK = Plan(seconds=1, idle=2, strangers=1_000)


@dataclass
class System:
    """What was seen. Memory by process, `idle` and `loaded`; `cpu_ms` by request and process, without what the process
    uses by itself (`idle_cores`). Bytes: on disk of a task, and of what is told of a new one; in Redis of an open task
    with a reminder, whoever keeps it."""

    cold_start: float = 0.0
    warm_start: float = 0.0
    idle: dict[str, int] = field(default_factory=dict)
    idle_cores: dict[str, float] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)
    health: Block = field(default_factory=Block)
    connection_bytes: float = 0.0
    unconnected: Block = field(default_factory=Block)
    connected: Block = field(default_factory=Block)
    few: dict[str, Block] = field(default_factory=dict)
    many: dict[str, Block] = field(default_factory=dict)
    cpu_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    task_bytes: float = 0.0
    ledger_bytes: float = 0.0
    redis_bytes: float = 0.0


def starts(place: Place, seen: System) -> None:
    """Stop everything, keep the data, and start again."""
    place.instance.down()
    began = time.perf_counter()
    place.instance.up()
    seen.warm_start = time.perf_counter() - began
    place.served.update(found(place.instance))


async def system(place: Place, plan: Plan, seen: System) -> None:
    """Measure memory and requests, with few tasks and with many."""
    port = place["task-api"].port
    seen.idle_cores = await place.idle_cores(plan.idle)
    seen.idle = resident(place)
    seen.health = await _steady(port, encode("GET", "/health"), plan.seconds)
    await _many_connections(place, plan, seen)
    async with Store.of(place.instance.database_url) as store:
        connection = await Connection.to(port)
        people = await requests.register(connection, PEOPLE)
        connection.close()
        known = [person.user_id for person in people]
        await store.fill(known, 1, PEOPLE * TASKS_EACH)
        seen.few = await _reading(place, store, people, plan)
        await _costs(place, store, people, plan, seen)
        await _kept(place, store, people, plan, seen)
        await store.clear()
        strangers = await store.strangers(plan.strangers - PEOPLE)
        await store.fill(known + strangers, 1, plan.strangers * TASKS_EACH)
        seen.task_bytes = await store.bytes_a_task()
        connection = await Connection.to(port)
        await requests.log_in(connection, people)
        connection.close()
        seen.many = await _reading(place, store, people, plan)
        seen.loaded = resident(place)


def resident(place: Place) -> dict[str, int]:
    """Give the resident memory of every process."""
    return {name: one.resident_bytes() for name, one in place.served.items()}


async def _steady(port: int, request: bytes, seconds: float, connections: int = 10) -> Block:
    """The same request a hundred times a second."""
    schedule = arrivals(HEALTH_RATE, seconds, seed=4)
    return await open_loop(port, lambda _: request, schedule, connections)


async def _many_connections(place: Place, plan: Plan, seen: System) -> None:
    server = place["task-api"]
    before = server.resident_bytes()
    live = encode("GET", "/health/live")
    seen.unconnected = await _steady(server.port, live, plan.seconds)
    opened = [await Connection.to(server.port) for _ in range(CONNECTIONS)]
    for connection in opened:
        await connection.ask(live)
    seen.connection_bytes = (server.resident_bytes() - before) / CONNECTIONS
    seen.connected = await _steady(server.port, live, plan.seconds)
    for connection in opened:
        connection.close()


async def _reading(place: Place, store: Store, people: list[Person], plan: Plan) -> dict[str, Block]:
    port = place["task-api"].port
    owned = await store.open_tasks([person.user_id for person in people])
    made = {"get": requests.getting(people, owned), "list": requests.listing(people)}
    for one in made.values():
        await closed_loop(port, one, CLIENTS, min(1.0, plan.seconds))
    return {name: await closed_loop(port, one, CLIENTS, plan.seconds) for name, one in made.items()}


async def _costs(place: Place, store: Store, people: list[Person], plan: Plan, seen: System) -> None:
    """What one request of each kind takes of every process, its event's way to the broker included."""
    port = place["task-api"].port
    owned = await store.open_tasks([person.user_id for person in people])
    kinds: dict[str, Callable[[], Requests]] = {
        "create": lambda: requests.creating(people),
        "get": lambda: requests.getting(people, owned),
        "list": lambda: requests.listing(people),
    }
    for name, made in kinds.items():
        began, before = time.perf_counter(), {worker: place.cpu_seconds(worker) for worker in WORKERS}
        block = await closed_loop(port, made(), CLIENTS, plan.seconds)
        await store.until_published()
        took, answers = time.perf_counter() - began, len(block.latencies)
        seen.cpu_ms[name] = {
            worker: max(0.0, place.cpu_seconds(worker) - used - seen.idle_cores[worker] * took)
            * 1000
            / answers
            for worker, used in before.items()
        }


async def _kept(place: Place, store: Store, people: list[Person], plan: Plan, seen: System) -> None:
    """What a new task with a reminder leaves behind, once all have handled its events."""
    async with Redis.from_url(place.instance.redis_url) as redis:
        await _until_all_is_told(store)
        used, told = await used_memory(redis), await store.bytes_of(*LEDGERS)
        block = await closed_loop(place["task-api"].port, requests.creating(people), CLIENTS, plan.seconds)
        await _until_all_is_told(store)
        made = len(block.latencies)
        seen.redis_bytes = (await used_memory(redis) - used) / made
        seen.ledger_bytes = (await store.bytes_of(*LEDGERS) - told) / made


async def _until_all_is_told(store: Store) -> None:
    """Until nothing was added for a while: the siblings' reports come last."""
    async with asyncio.timeout(_TOLD_WITHIN):
        await store.until_published()
        before, lines = -1, await store.count("task_activity")
        while lines != before:
            await asyncio.sleep(_TOLD_AFTER)
            before, lines = lines, await store.count("task_activity")
