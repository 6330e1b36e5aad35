"""One run: a system with two replicas of everything, people at work, faults one after another, then the reckoning."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from tests.chaos.check import Finding, Harm, check, latest
from tests.chaos.collect import collect, read_queues
from tests.chaos.faults import KINDS, REPLICAS, Fault, Kind, inflict, schedule
from tests.chaos.front import Front
from tests.chaos.load import LAST_SECONDS, Load
from tests.chaos.model import Model
from tests.chaos.person import Person
from tests.chaos.probe import Probe
from tests.chaos.report import Injected, Outcome
from tests.chaos.writes import Writes

from stack import Instance

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "UTC", "Australia/Sydney", "America/Sao_Paulo")
SETTLE_SECONDS = 120.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """`minutes` is how long faults go on; `rate` is in writes a second."""

    minutes: float
    seed: int
    rate: float = 5.0
    limit: int | None = None
    """Faults after which it ends early."""
    kinds: Sequence[Kind] = KINDS


async def run(instance: Instance, plan: Plan, say: Say) -> Outcome:
    """Play it on an instance that this call starts; it is left running. Raises what the stack raises."""
    await asyncio.to_thread(instance.up, replicas=REPLICAS, fresh=True)
    model = Model()
    async with fronts(instance, REPLICAS) as (tasks, notifications):
        people = [
            Person(model, tasks, notifications, f"person{number}", zone) for number, zone in enumerate(ZONES)
        ]
        prober = Person(model, tasks, notifications, "probe", "UTC")
        everybody = [*people, prober]
        await asyncio.gather(*(person.register() for person in everybody))
        writes = Writes(model)
        probe = Probe(prober, writes)
        await _until_warm(probe, say)
        over = asyncio.Event()
        load = Load(model, people, rate=plan.rate, seed=plan.seed)
        working = asyncio.create_task(load.run(over))
        try:
            injected = await _faults(instance, plan, probe, say)
        finally:
            over.set()
        await working
        say("the people rest; waiting until everything is through")
        await settle(instance, say)
        say("collecting what the system says of itself")
        facts = await collect(instance, everybody)
    wrong = [
        Finding(Harm.WRONG, one.what, one.task_id, one.at) for one in (*load.mismatches, *writes.mismatches)
    ]
    unanswered = [
        Finding(Harm.LOST, "an answer, for two minutes", task.task_id)
        for task in model.tasks.values()
        if task.unknown
    ]
    return Outcome(
        seed=plan.seed,
        minutes=plan.minutes,
        rate=plan.rate,
        model=model,
        facts=facts,
        injected=injected,
        findings=[*check(model, facts), *wrong, *unanswered],
        latest=latest(model, facts),
        latest_without_faults=latest(model, facts, [(one.began, one.ready) for one in injected]),
        done=load.done,
        left_out=load.left_out,
    )


async def _until_warm(probe: Probe, say: Say) -> None:
    """New consumer groups take some seconds to find together: no fault is blamed for that."""
    took = await probe.recovery(time.monotonic())
    say(f"a first reminder came {'never' if took is None else f'after {took:.1f} s'}")


async def _faults(instance: Instance, plan: Plan, probe: Probe, say: Say) -> list[Injected]:
    injected: list[Injected] = []
    ends = time.monotonic() + plan.minutes * 60
    for fault in schedule(plan.seed, plan.kinds):
        await asyncio.sleep(fault.gap)
        if time.monotonic() >= ends or len(injected) == plan.limit:
            break
        injected.append(await _fault(instance, fault, probe, say))
    return injected


async def _fault(instance: Instance, fault: Fault, probe: Probe, say: Say) -> Injected:
    began = datetime.now(UTC)
    await asyncio.to_thread(inflict, instance, fault)
    ready_at, ready = time.monotonic(), datetime.now(UTC)
    recovery = await probe.recovery(ready_at)
    away = (ready - began).total_seconds()
    heard = "no reminder came" if recovery is None else f"a reminder came after {recovery:.1f} s"
    say(f"#{fault.number} {fault.kind.act} {fault.process}: ready after {away:.1f} s, {heard}")
    return Injected(fault, began, ready, recovery)


async def settle(instance: Instance, say: Say) -> None:
    """Until the last reminder is due and every queue is empty; after two minutes what still waits is a finding."""
    last_due = datetime.now(UTC) + timedelta(seconds=LAST_SECONDS + 1)
    until = time.monotonic() + LAST_SECONDS + SETTLE_SECONDS
    while True:
        queues = await read_queues(instance)
        if not queues.waiting and datetime.now(UTC) > last_due:
            return
        if time.monotonic() > until:
            say(f"not everything came through: {queues.waiting}")
            return
        await asyncio.sleep(1.0)


@asynccontextmanager
async def fronts(instance: Instance, replicas: Mapping[str, int]) -> AsyncIterator[tuple[Front, Front]]:
    """What stands before task-api, and before notifier; one replica where `replicas` says nothing."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    async with httpx.AsyncClient(limits=limits) as client:
        tasks, notifications = (
            Front(
                client,
                [instance.app_url(service, number) for number in range(1, replicas.get(service, 1) + 1)],
            )
            for service in ("task-api", "notifier")
        )
        yield tasks, notifications
