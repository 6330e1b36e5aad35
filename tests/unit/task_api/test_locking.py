"""How a command comes to its row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from task_api.application.locking import lock_for_edit, lock_for_status
from task_api.application.ports import Locked, Owner, Transaction
from task_api.domain.errors import ConcurrentChange, TaskNotFound, VersionMismatch
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Task

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
USER = uuid4()
TASK = Task(uuid4(), USER, 1, 3, "Water the plants", "UTC", NOW, NOW)
SERIES = Series(uuid4(), USER, 1, Recurrence("FREQ=DAILY"), "UTC", "2026-01-05", NOW, NOW)
OWNER = Owner(USER, "UTC", time(9), None, 1)


class Rows:
    """A unit of work that notes in which order it is asked to lock."""

    def __init__(self, task: Task | None, series: Series | None = None) -> None:
        self.task, self.series, self.asked = task, series, list[str]()

    async def lock_series_of(self, user_id: UUID, task_id: UUID) -> Series | None:
        self.asked.append("series")
        return self.series

    async def lock_task(self, user_id: UUID, task_id: UUID) -> Locked | None:
        self.asked.append("task")
        return None if self.task is None else Locked(self.task, OWNER)


def work(rows: Rows) -> Transaction:
    return cast("Transaction", rows)


async def test_the_series_is_locked_before_its_task() -> None:
    rows = Rows(replace(TASK, series_id=SERIES.id, occurrence_key="2026-01-05"), SERIES)
    series, locked = await lock_for_status(work(rows), USER, TASK.id)
    assert (series, locked.task.series_id) == (SERIES, SERIES.id)
    assert rows.asked == ["series", "task"]


async def test_a_series_that_came_in_between_is_not_overlooked() -> None:
    rows = Rows(replace(TASK, series_id=SERIES.id, occurrence_key="2026-01-05"), None)
    with pytest.raises(ConcurrentChange):
        await lock_for_status(work(rows), USER, TASK.id)


@pytest.mark.parametrize("task", [None, replace(TASK, deleted_at=NOW)])
async def test_a_task_that_is_not_there(task: Task | None) -> None:
    for lock in (lock_for_status, lock_for_edit):
        with pytest.raises(TaskNotFound):
            await cast("Any", lock)(work(Rows(task)), USER, TASK.id, frozenset({9}))


async def test_the_version_is_checked_under_the_lock() -> None:
    assert (await lock_for_edit(work(Rows(TASK)), USER, TASK.id, frozenset({3, 9}))).task is TASK
    with pytest.raises(VersionMismatch) as refused:
        await lock_for_edit(work(Rows(TASK)), USER, TASK.id, frozenset({2}))
    assert refused.value.current is TASK
