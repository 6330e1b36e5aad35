"""The same for many tasks: per item, or all or nothing. Rows are locked in one order, so that no two calls block
each other, and written together in few round trips."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from event_contracts.values import Actor
from task_api.application.close_task import change_status
from task_api.application.create_task import NewTask, begin_task, first_write
from task_api.application.edit_task import TaskEdit, apply_edit
from task_api.application.ports import (
    KeptAnswer,
    Locked,
    Means,
    Once,
    Owner,
    SeriesWrite,
    Stamp,
    TaskView,
    TaskWrite,
    Transaction,
)
from task_api.domain import task as rules
from task_api.domain.errors import (
    AccountNotFound,
    BulkRefused,
    ConcurrentChange,
    CutShort,
    StorageUnavailable,
    TaskError,
    TaskNotFound,
)
from task_api.domain.ids import new_id
from task_api.domain.series import Series

_CHUNK = 100
"""Tasks that are locked at the same time: other requests wait for one chunk, not for all five hundred."""
_TRIES = 3
_NOT_REACHED = "the database stopped answering before it was this one's turn: nothing was changed, ask again"
_UNHEARD_OF = "the database stopped answering while this was committed: it may have been done, ask again"
_NOT_ALL = "the database stopped answering: some tasks may still have the old name, ask again for the rest"

Step = Callable[[Transaction, Series | None, Locked, Stamp], Awaitable[TaskView]]


@dataclass(slots=True)
class Outcome:
    """What became of the items: `failed` names each by its id, or by its place among those to be created. `cut_short`
    says that there are more, which nobody named."""

    change_id: UUID
    done: list[TaskView] = field(default_factory=list)
    failed: list[tuple[UUID | int, TaskError]] = field(default_factory=list)
    cut_short: CutShort | None = None


async def complete_many(
    means: Means, actor: Actor, user_id: UUID, task_ids: Sequence[UUID], *, atomic: bool
) -> Outcome:
    """Complete tasks; those that are completed count as done. Raises BulkRefused when atomic."""

    async def complete(work: Transaction, series: Series | None, locked: Locked, stamp: Stamp) -> TaskView:
        after = await change_status(work, series, locked, rules.complete, stamp)
        return TaskView(after, series.goes_on if series else None)

    return await _over(means, actor, user_id, task_ids, complete, atomic=atomic)


async def delete_many(
    means: Means, actor: Actor, user_id: UUID, task_ids: Sequence[UUID], *, atomic: bool
) -> Outcome:
    """Take tasks away. Raises BulkRefused when atomic."""

    async def delete(work: Transaction, series: Series | None, locked: Locked, stamp: Stamp) -> TaskView:
        return TaskView(await change_status(work, series, locked, rules.delete, stamp), None)

    return await _over(means, actor, user_id, task_ids, delete, atomic=atomic)


async def edit_many(
    means: Means, actor: Actor, user_id: UUID, task_ids: Sequence[UUID], edit: TaskEdit, *, atomic: bool
) -> Outcome:
    """Merge the same edit into each task. Raises BulkRefused when atomic."""

    async def merge(work: Transaction, series: Series | None, locked: Locked, stamp: Stamp) -> TaskView:
        return await apply_edit(work, series, locked, edit, stamp)

    return await _over(means, actor, user_id, task_ids, merge, atomic=atomic)


async def rename_tag(
    means: Means,
    actor: Actor,
    user_id: UUID,
    tagged: Callable[[int], Awaitable[Sequence[UUID]]],
    old: str,
    new: str,
) -> Outcome:
    """Put one tag in the place of another on every task that `tagged` finds, a chunk at a time, as one change.

    When the database stops answering after the first chunk, `cut_short` of the outcome says so.
    """

    async def rename(work: Transaction, series: Series | None, locked: Locked, stamp: Stamp) -> TaskView:
        names = (new if name == old else name for name in locked.task.tags)
        edit = TaskEdit(fields={"tags": tuple(dict.fromkeys(names))}, allow_past=True)
        return await apply_edit(work, series, locked, edit, stamp)

    whole = Outcome(new_id())
    try:
        while old != new and (task_ids := await tagged(_CHUNK)):
            part = await _over(
                means, actor, user_id, task_ids, rename, atomic=False, change_id=whole.change_id
            )
            whole.done += part.done
            whole.failed += part.failed
            if not part.done:
                break
    except StorageUnavailable:
        if not whole.done:
            raise
        # Who asks again goes on with what still has the old name; what is done can only be taken back by this answer.
        whole.cut_short = CutShort(_NOT_ALL)
    return whole


async def _over(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_ids: Sequence[UUID],
    step: Step,
    *,
    atomic: bool,
    change_id: UUID | None = None,
) -> Outcome:
    wanted = list(dict.fromkeys(task_ids))
    outcome = Outcome(change_id or new_id())
    # Locks are taken by id within a transaction; chunks of ids in order keep the same order across them.
    size = len(wanted) if atomic else _CHUNK
    ordered = sorted(wanted)
    for start in range(0, len(ordered), max(size, 1)):
        chunk = ordered[start : start + size]
        # Counted once it is committed.
        part = Outcome(outcome.change_id)
        commits = False
        try:
            async with means.database.begin() as work:
                await _over_chunk(means, work, actor, user_id, chunk, step, part)
                if atomic and part.failed:
                    raise BulkRefused(part.failed)
                commits = True
        except StorageUnavailable:
            if start == 0:
                raise
            # Chunks before it are committed: a bare 503 would hide what they did, and how to take it back.
            here = CutShort(_UNHEARD_OF if commits else _NOT_REACHED)
            outcome.failed += [(task_id, here) for task_id in chunk]
            outcome.failed += [(task_id, CutShort(_NOT_REACHED)) for task_id in ordered[start + size :]]
            break
        outcome.done += part.done
        outcome.failed += part.failed
        means.wake()
    place = {task_id: index for index, task_id in enumerate(wanted)}
    outcome.done.sort(key=lambda view: place[view.task.id])
    outcome.failed.sort(key=lambda item: place[item[0]] if isinstance(item[0], UUID) else 0)
    return outcome


async def _over_chunk(
    means: Means,
    work: Transaction,
    actor: Actor,
    user_id: UUID,
    task_ids: Sequence[UUID],
    step: Step,
    outcome: Outcome,
) -> None:
    await work.lock_account(user_id)  # some of them may be opened
    series = await work.lock_series_of_tasks(user_id, task_ids)
    found = {locked.task.id: locked for locked in await work.lock_tasks(user_id, task_ids)}
    # Asked for once the locks are held: whoever had them before was earlier.
    stamp = Stamp(actor, await means.now(), outcome.change_id)
    opened: set[UUID] = set()
    async with work.together():
        for task_id in task_ids:
            try:
                locked = found.get(task_id)
                if locked is not None and locked.task.predecessor_task_id in opened:
                    # It made room for the one before it, and is not any more what was read.
                    locked = await work.lock_task(user_id, task_id)
                if locked is None or locked.task.deleted_at is not None:
                    raise TaskNotFound("there is no such task")
                series_id = locked.task.series_id
                if series_id is not None and series_id not in series:
                    raise ConcurrentChange("the task became recurring at the same moment")
                its_series = None if series_id is None else series[series_id]
                view = await step(work, its_series, locked, stamp)
                if not locked.task.is_open and view.task.is_open:
                    opened.add(task_id)
                outcome.done.append(view)
            except TaskError as error:
                outcome.failed.append((task_id, error))


async def create_many(
    means: Means,
    actor: Actor,
    user_id: UUID,
    requests: Sequence[NewTask],
    *,
    atomic: bool,
    once: Once | None,
    answer_of: Callable[[Outcome], KeptAnswer],
) -> tuple[KeptAnswer, bool]:
    """Make tasks, in one transaction, numbered in their order, unless that was done under this key.

    The answer, and whether it is one given before. Raises AccountNotFound, KeyReused, and BulkRefused when atomic.
    """
    async with means.database.begin() as work:
        if once is not None:
            given = await work.claim_key(user_id, once.key, once.fingerprint, await means.now())
            if given is not None:
                return given, True
        stamp = Stamp(actor, await means.now())
        answer = answer_of(await _create_all(work, user_id, requests, stamp, atomic=atomic))
        if once is not None:
            await work.keep_answer(user_id, once.key, answer)
    means.wake()
    return answer, False


async def _create_all(
    work: Transaction, user_id: UUID, requests: Sequence[NewTask], stamp: Stamp, *, atomic: bool
) -> Outcome:
    for _ in range(_TRIES):
        owner = await work.owner(user_id)
        if owner is None:
            raise AccountNotFound("the account is gone")
        outcome, good = _sorted_out(owner, requests, stamp)
        if outcome.failed and atomic:
            raise BulkRefused(outcome.failed)
        first = await work.reserve_numbers(owner, len(good)) if good else 0
        if first is not None:
            await _insert_all(work, owner, good, stamp, first, outcome)
            return outcome
    raise ConcurrentChange("the account's settings keep changing")


def _sorted_out(owner: Owner, requests: Sequence[NewTask], stamp: Stamp) -> tuple[Outcome, list[NewTask]]:
    outcome = Outcome(stamp.change_id)
    good: list[NewTask] = []
    for index, request in enumerate(requests):
        try:
            begin_task(owner, request, stamp.at)
            good.append(request)
        except TaskError as error:
            outcome.failed.append((index, error))
    return outcome, good


async def _insert_all(
    work: Transaction, owner: Owner, good: Sequence[NewTask], stamp: Stamp, first: int, outcome: Outcome
) -> None:
    writes: list[tuple[TaskWrite, SeriesWrite | None]] = []
    for number, request in enumerate(good, start=first):
        write, series = first_write(owner, request, stamp, number)
        writes.append((write, series))
        outcome.done.append(TaskView(write.after, request.recurrence))
    await work.insert_many(writes)
