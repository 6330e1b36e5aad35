"""The real use cases under a seeded scheduler: crashes at any await, duplicates, reordering, two replicas, a store that
fails with and without having written, lost proposals, a flush of everything.

The model of task-api inserts successors as the real one does. What must hold: one closing of one instance under one
version of the series has one proposal, however often it goes out, and none under an older version than that of its
closing; in the end every closed tip of a series that goes on has its successor; keys strictly increase; and the
documents of each series and its tip say the newest that there was to hear.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from tests.unit.recurrence.conftest import (
    MONDAY,
    NOW,
    FakePublisher,
    FakeTaskApi,
    Rig,
    closed,
    instance_of,
    later,
    series_of,
    tip_of,
)

from event_contracts.envelope import derive_id
from event_contracts.recurrence import RecurringTaskGenerated
from event_contracts.series import Anchor, Overdue, RecurrencePolicies, SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from recurrence.application.errors import TryAgain
from service_kit.sidecar import SidecarUnavailable
from service_kit.state_store import StateConflict, StateUnavailable, StateWriteFailed
from service_kit.testing.fakes import InMemoryStateStore

NAMES = UUID("0197a1c0-0000-7000-8000-00000000ffff")
RULES = ("FREQ=WEEKLY;BYDAY=MO", "FREQ=WEEKLY;BYDAY=TU", "FREQ=DAILY", "FREQ=MONTHLY;BYMONTHDAY=31")
WAITING = (
    RecurrencePolicies(),
    RecurrencePolicies(overdue=Overdue.CATCH_UP),
    RecurrencePolicies(anchor=Anchor.COMPLETION),
)
STEPS = 300


class Scheduler:
    """Decides who goes on: every await of a use case on the outside waits here first."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._waiting: list[asyncio.Future[None]] = []

    async def checkpoint(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def go_on(self) -> bool:
        """Let one of those who wait go on; False when nobody does."""
        self._waiting = [future for future in self._waiting if not future.done()]
        if not self._waiting:
            await asyncio.sleep(0)
            return False
        self._waiting.pop(self.chance.randrange(len(self._waiting))).set_result(None)
        for _ in range(4):
            await asyncio.sleep(0)
        return True


class ShakyStore(InMemoryStateStore):
    """A state store whose writes sometimes fail, having landed or not, between checkpoints."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.is_shaky = True

    async def get(self, key: str) -> Any:
        await self.scheduler.checkpoint()
        return await super().get(key)

    async def get_many(self, keys: Any) -> Any:
        await self.scheduler.checkpoint()
        return await super().get_many(keys)

    async def create(self, key: str, value: Mapping[str, Any], ttl_seconds: int = -1) -> None:
        await self._shake(lambda: super(ShakyStore, self).create(key, value, ttl_seconds))

    async def replace(self, key: str, value: Mapping[str, Any], etag: str, ttl_seconds: int = -1) -> None:
        await self._shake(lambda: super(ShakyStore, self).replace(key, value, etag, ttl_seconds))

    async def _shake(self, write: Callable[[], Awaitable[None]]) -> None:
        await self.scheduler.checkpoint()
        dice = self.scheduler.chance.random() if self.is_shaky else 1.0
        if dice < 0.04:
            raise StateUnavailable("away")
        await write()
        if dice < 0.14:
            raise StateConflict("409, and yet it landed")
        await self.scheduler.checkpoint()


@dataclass
class ModelTaskApi(FakeTaskApi):
    """task-api by its rules: who inserts what, and which events that makes."""

    scheduler: Scheduler
    events: list[TaskSnapshot | SeriesSnapshot] = field(default_factory=list)
    tasks: dict[UUID, TaskSnapshot] = field(default_factory=dict)
    chains: dict[UUID, list[UUID]] = field(default_factory=dict)
    closed_under: dict[tuple[UUID, int | None], int] = field(default_factory=dict)
    """The version of the series at each closing."""
    names: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        await self.scheduler.checkpoint()
        return await super().series(series_id)

    def begin(self, rule: str, policies: RecurrencePolicies) -> None:
        series = series_of(series_id=self._id(), rrule=rule, policies=policies)
        self.known[series.series_id] = series
        self.chains[series.series_id] = []
        self._insert(series, MONDAY)

    def tip(self, series_id: UUID) -> TaskSnapshot:
        return self.tasks[self.chains[series_id][-1]]

    def close(self, series_id: UUID, at_key: bool) -> None:
        tip = self.tip(series_id)
        if not tip.is_open:
            return
        assert tip.occurrence_key is not None
        days = 0 if at_key else 17
        self._write(
            closed(tip, tip.version + 1, at=NOW + timedelta(days=7 * len(self.chains[series_id]) + days))
        )

    def reopen(self, series_id: UUID) -> None:
        """Undo of a completion: the untouched successor, if there is one, is withdrawn."""
        chain = self.chains[series_id]
        if self.tip(series_id).is_open and len(chain) > 1:
            chain.pop()
        tip = self.tip(series_id)
        if not tip.is_open:
            self._write(
                later(
                    tip,
                    tip.version + 1,
                    status="pending",
                    closed_by=None,
                    closed_version=None,
                    closed_at=None,
                )
            )

    def edit(self, series_id: UUID, **fields: Any) -> None:
        series = self.known[series_id]
        self.known[series_id] = series.model_copy(update={"version": series.version + 1} | fields)
        self._retip(series_id)
        self.events.append(self.known[series_id])

    def take(self, proposal: RecurringTaskGenerated) -> None:
        """Insert the successor, if the predecessor and the series are still as they were."""
        series, tip = self.known[proposal.series_id], self.tip(proposal.series_id)
        if (
            proposal.predecessor_task_id == tip.task_id
            and proposal.predecessor_closed_version == tip.closed_version
            and proposal.series_version == series.version
            and not (series.paused or series.ended)
        ):
            assert tip.occurrence_key is not None
            assert proposal.occurrence_key > tip.occurrence_key
            self._insert(series, proposal.occurrence_key)

    def _insert(self, series: SeriesSnapshot, key: str) -> None:
        task = instance_of(series, task_id=self._id(), occurrence_key=key)
        self.chains[series.series_id].append(task.task_id)
        self._write(task)

    def _write(self, task: TaskSnapshot) -> None:
        series_id = task.series_id
        assert series_id is not None
        task = task.model_copy(update={"series_version": self.known[series_id].version})
        self.tasks[task.task_id] = task
        if not task.is_open:
            self.closed_under[task.task_id, task.closed_version] = self.known[series_id].version
        self._retip(series_id)
        self.events.append(task)

    def _retip(self, series_id: UUID) -> None:
        tip = tip_of(self.tip(series_id))
        self.known[series_id] = self.known[series_id].model_copy(update={"tip": tip})

    def _id(self) -> UUID:
        self.names += 1
        return uuid5(NAMES, str(self.names))


class LossyBus(FakePublisher):
    """Takes proposals, loses the answer now and then, and gives them to task-api in any order; some closings are not
    heard of until everything is quiet again."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.is_lossy = True
        self.underway: list[RecurringTaskGenerated] = []
        self.taken: list[RecurringTaskGenerated] = []
        self.unheard: dict[tuple[UUID, int | None, int], bool] = {}
        self.said: dict[tuple[UUID, int | None, int], set[tuple[UUID, str]]] = {}

    async def occurrence_generated(self, proposal: RecurringTaskGenerated) -> None:
        await self.scheduler.checkpoint()
        closing = (proposal.predecessor_task_id, proposal.predecessor_closed_version, proposal.series_version)
        event_id = derive_id(proposal.series_id, *closing, proposal.occurrence_key)
        self.said.setdefault(closing, set()).add((event_id, proposal.occurrence_key))
        if self.is_lossy and self.scheduler.chance.random() < 0.1:
            raise SidecarUnavailable("it may be out")
        unheard = self.unheard.setdefault(closing, self.scheduler.chance.random() < 0.3)
        if not (self.is_lossy and unheard):
            self.underway.append(proposal)
            self.taken.append(proposal)
        await self.scheduler.checkpoint()


class World:
    """Two replicas, a bus that repeats and reorders, and people who close, undo, edit, pause and resume."""

    policies: Sequence[RecurrencePolicies] = WAITING

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.scheduler = Scheduler(self.chance)
        self.task_api = self._make_task_api()
        self.bus = LossyBus(self.scheduler)
        self.store = ShakyStore(self.scheduler)
        self.first = Rig(store=self.store, task_api=self.task_api, publisher=self.bus)
        self.replicas = [self.first, self.first.another()]
        self.queue: list[TaskSnapshot | SeriesSnapshot] = []
        self.running: dict[asyncio.Task[bool], TaskSnapshot | SeriesSnapshot | None] = {}
        """What comes again if it dies: an event. A sweep does not."""
        self.stale: list[str] = []

    def _make_task_api(self) -> ModelTaskApi:
        return ModelTaskApi(self.scheduler)

    async def run(self) -> None:
        await self._rebuild()
        for rule in self.chance.sample(RULES, 2):
            self.task_api.begin(rule, self.chance.choice(self.policies))
        for _ in range(STEPS):
            await self._anything()
        await self._quiet_down()
        await self._to_the_end(self._read_documents())

    async def _anything(self) -> None:
        self._collect()
        dice = self.chance.random()
        if dice < 0.14:
            self._person_acts()
        elif dice < 0.28 and self.queue:
            self._deliver()
        elif dice < 0.34 and self.bus.underway:
            self._to_task_api()
        elif dice < 0.37 and self.running:
            self.chance.choice(list(self.running)).cancel()
        elif dice < 0.373:
            await self._flush()
        else:
            await self.scheduler.go_on()

    def _person_acts(self) -> None:
        series_id = self.chance.choice(list(self.task_api.chains))
        series = self.task_api.known[series_id]
        act = self.chance.random()
        if act < 0.55:
            self.task_api.close(series_id, at_key=self.chance.random() < 0.5)
        elif act < 0.70:
            self.task_api.reopen(series_id)
        elif act < 0.80:
            self.task_api.edit(series_id, rrule=self.chance.choice(RULES))
        elif series.paused:
            self.task_api.edit(
                series_id, paused=False, resumed_at=NOW + timedelta(days=self.chance.randrange(60))
            )
        else:
            self.task_api.edit(series_id, paused=True)

    def _collect(self) -> None:
        self.queue += self.task_api.events
        self.task_api.events.clear()
        for task in [task for task in self.running if task.done()]:
            event = self.running.pop(task)
            if event is not None and (task.cancelled() or not task.result()):
                self.queue.append(event)

    def _deliver(self, again: float = 0.2) -> None:
        index = self.chance.randrange(len(self.queue))
        event = self.queue[index] if self.chance.random() < again else self.queue.pop(index)
        replica = self.chance.choice(self.replicas)
        self.running[asyncio.create_task(_handle(replica, event))] = event

    def _to_task_api(self) -> None:
        index = self.chance.randrange(len(self.bus.underway))
        again = self.chance.random() < 0.2
        self.task_api.take(self.bus.underway[index] if again else self.bus.underway.pop(index))

    async def _flush(self) -> None:
        """Redis lost everything, what the sweeps look after too."""
        self.store.flush()
        for index in (self.first.index, self.first.dates):
            index.flush()
        await self._rebuild()

    async def _rebuild(self) -> None:
        for _ in range(20):
            await self._to_the_end(self.replicas[0].keeper.step())
            if self.first.state.is_complete:
                break
        assert self.first.state.is_complete
        for replica in self.replicas:
            replica.state.note(complete=True)

    async def _to_the_end(self, work: Any) -> None:
        """Run something undisturbed while the others stand still or go on."""
        shaky, self.store.is_shaky = self.store.is_shaky, False
        lossy, self.bus.is_lossy = self.bus.is_lossy, False
        task = asyncio.create_task(work)
        while not task.done():
            await self.scheduler.go_on()
        with suppress(StateWriteFailed, TryAgain):
            await task
        self.store.is_shaky, self.bus.is_lossy = shaky, lossy

    async def _quiet_down(self) -> None:
        """Deliver what is left, proposals being lost as before; then let the hourly sweep do what is left to do."""
        self.store.is_shaky = False
        for series_id, series in self.task_api.known.items():
            if series.paused:
                self.task_api.edit(series_id, paused=False, resumed_at=NOW)
        await self._drain()
        self.bus.is_lossy = False
        for _ in range(3):
            await self._drain()
            for replica in self.replicas:
                replica.clock.advance(timedelta(hours=1))
                await self._to_the_end(replica.repair.sweep())
        await self._drain()

    async def _drain(self) -> None:
        for _ in range(20_000):
            self._collect()
            if self.queue and len(self.running) < 3:
                self._deliver(again=0.0)
            while self.bus.underway:
                self._to_task_api()
            if not await self.scheduler.go_on() and not (self.queue or self.running or self.task_api.events):
                return
        raise AssertionError(f"it does not come to rest: {self.queue[:3]}")

    async def _read_documents(self) -> None:
        documents = self.first.documents
        generation = await documents.generation()
        assert generation is not None
        for series_id, series in self.task_api.known.items():
            tip = self.task_api.tip(series_id)
            found = await documents.read(
                generation.name, task_id=tip.task_id, series_id=series_id, user_id=series.user_id
            )
            for held, newest in ((found.series, series.version), (found.task, tip.version)):
                if held is None or held.value.version != newest:
                    self.stale.append(f"{held} is out of date: there is version {newest}")

    def check(self) -> None:
        assert not self.stale, self.stale
        for (task_id, closed_version, series_version), said in self.bus.said.items():
            if closed_version is not None:
                under = self.task_api.closed_under[task_id, closed_version]
                assert series_version >= under, f"{said} came of a series older than the closing, {under}"
        for closing, said in self.bus.said.items():
            # What the schedule offers names no closing: there the clock has a say, and task-api takes the first.
            assert len(said) == 1 or closing[1] is None, f"{closing} was proposed as {said}"
        for series_id, chain in self.task_api.chains.items():
            tip = self.task_api.tip(series_id)
            assert tip.is_open, f"the closed tip {tip.task_id} of {series_id} has no successor"
            keys = [self.task_api.tasks[task_id].occurrence_key or "" for task_id in chain]
            assert keys == sorted(set(keys))


async def _handle(replica: Rig, event: TaskSnapshot | SeriesSnapshot) -> bool:
    try:
        if isinstance(event, TaskSnapshot):
            await replica.evaluation.on_task(event)
        else:
            await replica.evaluation.on_series(event)
    except (TryAgain, StateWriteFailed, SidecarUnavailable):
        return False
    return True
