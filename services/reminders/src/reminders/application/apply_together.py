"""Apply what arrives side by side together: one request to the store and the broker for all that waits.

A sidecar delivers one event of each partition at a time. After an outage that is a steady stream of as many as there
are partitions, and nearly all that an event costs is its requests.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from dataclasses import dataclass
from uuid import UUID

from event_contracts.origin import Origin
from event_contracts.tasks import TaskSnapshot
from reminders.application.apply_snapshot import SnapshotApplier

_AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class _Waiting:
    task: TaskSnapshot
    origin: Origin | None
    answer: asyncio.Future[bool]
    context: Context

    def settle(self, outcome: bool | Exception) -> None:
        """Give the answer, if whoever asked is still there."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class TogetherApplier:
    """Like `SnapshotApplier.apply`, for callers beside each other. Alone, none waits for another."""

    def __init__(self, applier: SnapshotApplier) -> None:
        self._applier = applier
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[None] | None = None

    async def apply(self, task: TaskSnapshot, origin: Origin | None) -> bool:
        """Whether the snapshot is dealt with; False asks for it to come again. Raises what the applier raises."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(task, origin, answer, copy_context()))
        if self._work is None:
            self._go_on()
        return await answer

    def _go_on(self) -> None:
        batch = self._take()
        if not batch:
            self._work = None
            return
        # Its log lines and requests are those of its first: there is no better place for them.
        self._work = asyncio.create_task(self._apply(batch), context=batch[0].context)
        self._work.add_done_callback(lambda _: self._go_on())

    def _take(self) -> list[_Waiting]:
        """The next ones, each of another task, in the order in which they came."""
        batch: dict[UUID, _Waiting] = {}
        left = list[_Waiting]()
        for one in self._waiting:
            if one.answer.done():
                continue  # who asked is gone
            if one.task.task_id in batch or len(batch) >= _AT_ONCE:
                left.append(one)
            else:
                batch[one.task.task_id] = one
        self._waiting = left
        return list(batch.values())

    async def _apply(self, batch: list[_Waiting]) -> None:
        """Answer each. Those of several that did not get through are tried by themselves.

        One that cannot be applied must not take the others along; and when one was written by somebody else at this
        moment, nothing is known of any of them. The broker's tries are few, and not for those that did not lose.
        """
        origins = {one.task.task_id: one.origin for one in batch if one.origin is not None}
        failure: Exception | None = None
        try:
            again = {
                task.task_id for task in await self._applier.apply_many([one.task for one in batch], origins)
            }
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            failure, again = error, {one.task.task_id for one in batch}
        left = [one for one in batch if one.task.task_id in again]
        for one in batch:
            if one not in left:
                one.settle(True)
        if len(batch) > 1:
            await asyncio.gather(*(self._apply([one]) for one in left))
        elif left:
            left[0].settle(False if failure is None else failure)
