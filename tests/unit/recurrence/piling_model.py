"""The model of `model` for series whose instances pile up: the schedule makes them beside open ones, time passes, the
sweeps of both replicas run among the rest and die there, and a flush takes the indexes too.

What must hold besides: in the end each series stands at today's date, closed instances and lost proposals or not; no
proposal has more than fifty; and under `catch_up`, where nobody edited or paused the series, no slot is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.unit.recurrence.conftest import NOW, closed, instance_of, later
from tests.unit.recurrence.model import RULES, ModelTaskApi, World

from event_contracts.recurrence import AT_ONCE_MAX, GenerationReason, RecurringTaskGenerated
from event_contracts.series import Overdue, PileUp, RecurrencePolicies, SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from recurrence.domain.budget import Budget
from recurrence.domain.occurrences import occurrences_after
from recurrence.domain.schedule import scheduled
from recurrence.domain.series import Series
from service_kit.testing.fakes import ManualClock

PILING = tuple(RecurrencePolicies(pile_up=PileUp.ALLOW, overdue=overdue) for overdue in Overdue)


@dataclass
class PilingTaskApi(ModelTaskApi):
    """task-api where an instance may be open while the next one is."""

    clock: ManualClock = field(kw_only=True)
    disturbed: set[UUID] = field(default_factory=set)
    """Series that somebody edited or paused."""

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        await self.scheduler.checkpoint()
        return self.tasks.get(task_id)

    def edit(self, series_id: UUID, **fields: Any) -> None:
        self.disturbed.add(series_id)
        super().edit(series_id, **fields)

    def close_one(self, task_id: UUID) -> None:
        task = self.tasks[task_id]
        if task.is_open:
            self._write(closed(task, task.version + 1, at=self.clock.instant))

    def reopen_one(self, task_id: UUID) -> None:
        """Undo of a completion: a successor that came of it alone, and whose date is still to come, is withdrawn."""
        task = self.tasks[task_id]
        if task.is_open or task.series_id is None:
            return
        chain = self.chains[task.series_id]
        place = chain.index(task_id)
        if place == len(chain) - 2:
            last = self.tasks[chain[-1]]
            assert task.closed_at is not None
            if last.is_open and last.updated_at >= task.closed_at and not self._has_come(last):
                chain.pop()
        fields = {"status": "pending", "closed_by": None, "closed_version": None, "closed_at": None}
        self._write(later(task, task.version + 1, **fields))

    def take(self, proposal: RecurringTaskGenerated) -> None:
        series, predecessor = self.known[proposal.series_id], self.tasks[proposal.predecessor_task_id]
        chain = self.chains[proposal.series_id]
        is_scheduled = (
            proposal.why is GenerationReason.SCHEDULE and proposal.predecessor_closed_version is None
        )
        if (
            chain[-1] != predecessor.task_id
            or proposal.series_version != series.version
            or series.paused
            or not (is_scheduled or proposal.predecessor_closed_version == predecessor.closed_version)
        ):
            return
        keys = [predecessor.occurrence_key or "", proposal.occurrence_key]
        keys += [one.occurrence_key for one in proposal.further]
        assert keys == sorted(set(keys))
        for key in keys[1:]:
            self._insert(series, key)

    def _insert(self, series: SeriesSnapshot, key: str) -> None:
        task = instance_of(series, task_id=self._id(), occurrence_key=key, updated_at=self.clock.instant)
        self.chains[series.series_id].append(task.task_id)
        self._write(task)

    def _has_come(self, task: TaskSnapshot) -> bool:
        assert task.occurrence_key is not None
        local = datetime.fromisoformat(task.occurrence_key).replace(tzinfo=ZoneInfo(task.timezone))
        return local <= self.clock.instant


def grid_of(series: SeriesSnapshot) -> Series:
    return Series.read(series.rrule, series.start, series.timezone, series.policies)


class PilingWorld(World):
    """People close any instance, not the newest alone; hours and days pass; each replica sweeps when it likes."""

    policies = PILING
    task_api: PilingTaskApi

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.clock = self.task_api.clock = self.first.clock

    def _make_task_api(self) -> PilingTaskApi:
        return PilingTaskApi(self.scheduler, clock=ManualClock(NOW))

    async def _anything(self) -> None:
        dice = self.chance.random()
        if dice < 0.04:
            self.clock.advance(timedelta(hours=self.chance.choice((1, 5, 30, 170))))
        elif dice < 0.07:
            replica = self.chance.choice(self.replicas)
            sweep = self.chance.choice((replica.by_schedule.sweep, replica.repair.sweep))
            self.running[asyncio.create_task(_sweep(sweep))] = None
        else:
            await super()._anything()

    def _person_acts(self) -> None:
        series_id = self.chance.choice(list(self.task_api.chains))
        series = self.task_api.known[series_id]
        task_id = self.chance.choice(self.task_api.chains[series_id][-3:])
        act = self.chance.random()
        if act < 0.5:
            self.task_api.close_one(task_id)
        elif act < 0.8:
            self.task_api.reopen_one(task_id)
        elif series.paused:
            self.task_api.edit(series_id, paused=False, resumed_at=self.clock.instant)
        elif act < 0.85:
            self.task_api.edit(series_id, paused=True)
        elif act < 0.9:
            self.task_api.edit(series_id, rrule=self.chance.choice(RULES))

    async def _quiet_down(self) -> None:
        self.store.is_shaky = False
        for series_id, series in self.task_api.known.items():
            if series.paused:
                self.task_api.edit(series_id, paused=False, resumed_at=self.clock.instant)
        await self._drain()
        self.bus.is_lossy = False
        for _ in range(6):
            await self._drain()
            self.clock.advance(timedelta(hours=1))
            for replica in self.replicas:
                await self._to_the_end(replica.repair.sweep())
                await self._to_the_end(replica.by_schedule.sweep())
        await self._drain()

    def check(self) -> None:
        super().check()
        for proposal in self.bus.taken:
            assert len(proposal.further) < AT_ONCE_MAX
        for series_id, chain in self.task_api.chains.items():
            series = self.task_api.known[series_id]
            grid = grid_of(series)
            keys = [self.task_api.tasks[task_id].occurrence_key or "" for task_id in chain]
            behind = scheduled(grid, keys[-1], timedelta(), self.clock.instant, series.resumed_at)
            assert behind is not None
            assert behind.made == (), f"{series_id} is behind: {[one.occurrence_key for one in behind.made]}"
            if series.policies.overdue is Overdue.CATCH_UP and series_id not in self.task_api.disturbed:
                for before, key in pairwise(keys):
                    following = next(occurrences_after(grid, before, Budget())).key
                    assert following == key, f"{following} was left out"


async def _sweep(sweep: Callable[[], Awaitable[None]]) -> bool:
    await sweep()
    return True
