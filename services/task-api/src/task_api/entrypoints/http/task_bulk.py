"""The same for many tasks at once."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from service_kit.auth import Principal
from task_api.application import bulk
from task_api.application.bulk import Outcome
from task_api.application.ports import Means
from task_api.domain.errors import TaskError
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.idempotency import OnlyOnce, kept, replay
from task_api.entrypoints.http.problems import to_problem
from task_api.entrypoints.http.task_answers import (
    ROOT,
    BulkAnswer,
    BulkCreatedAnswer,
    BulkItem,
    FailedItem,
    TaskAnswer,
    json_answer,
)
from task_api.entrypoints.http.task_models import BulkCreate, BulkIds, BulkUpdate
from task_api.entrypoints.http.task_writing import AllowPast
from task_api.entrypoints.http.undo_tokens import UndoTokens

_ERRORS = (400, 401, 409, 422)
Atomic = Annotated[bool, Query(description="All or nothing: one item that cannot be done stops them all.")]


def failed_items(failed: Sequence[tuple[UUID | int, TaskError]]) -> tuple[FailedItem, ...]:
    """Give the items that could not be done, with the error that a call for each alone would answer."""
    items = []
    for which, error in failed:
        problem = to_problem(error)
        items.append(
            FailedItem(
                id=which if isinstance(which, UUID) else None,
                index=which if isinstance(which, int) else None,
                error_code=problem.error_code,
                detail=problem.detail,
            )
        )
    return tuple(items)


def bulk_answer(outcome: Outcome, user_id: UUID, undo: UndoTokens) -> Response:
    """Give the response that tells what became of each task."""
    items = tuple(BulkItem(id=view.task.id, version=view.task.version) for view in outcome.done)
    failed = failed_items(outcome.failed)
    if outcome.cut_short is not None:
        problem = to_problem(outcome.cut_short)
        failed += (FailedItem(error_code=problem.error_code, detail=problem.detail),)
    body = BulkAnswer(updated=len(items), items=items, failed=failed)
    return json_answer(body, 200, _token(undo, user_id, outcome))


def _token(undo: UndoTokens, user_id: UUID, outcome: Outcome) -> dict[str, str]:
    return undo.header(user_id, outcome.change_id if outcome.done else None)


def task_bulk_routes(callers: Callers, means: Means, undo: UndoTokens) -> APIRouter:
    """Give the routes under /api/v1/tasks/bulk. What one call did is undone by one token."""
    router = APIRouter(tags=["tasks"])
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type

    @router.post(
        f"{ROOT}/bulk", status_code=201, response_model=BulkCreatedAnswer, responses=problems(*_ERRORS)
    )
    async def create(
        body: BulkCreate,
        principal: Writer,
        once: OnlyOnce,
        allow_past: AllowPast = False,
        atomic: Atomic = False,
    ) -> Response:
        """Make up to 500 tasks, numbered in their order."""

        def created(outcome: Outcome) -> Response:
            items = tuple(TaskAnswer.of(view) for view in outcome.done)
            made = BulkCreatedAnswer(created=len(items), items=items, failed=failed_items(outcome.failed))
            return json_answer(made, 201, _token(undo, principal.user_id, outcome))

        kept_answer, given_before = await bulk.create_many(
            means,
            actor_of(principal),
            principal.user_id,
            [task.request(allow_past=allow_past) for task in body.tasks],
            atomic=atomic or body.atomic,
            once=once,
            answer_of=lambda outcome: kept(created(outcome)),
        )
        return replay(kept_answer, given_before=given_before)

    @router.post(f"{ROOT}/bulk/complete", response_model=BulkAnswer, responses=problems(*_ERRORS))
    async def complete(body: BulkIds, principal: Writer, atomic: Atomic = False) -> Response:
        """Complete up to 500 tasks; those that are completed count as done."""
        actor, all_of_them = actor_of(principal), atomic or body.atomic
        outcome = await bulk.complete_many(means, actor, principal.user_id, body.ids, atomic=all_of_them)
        return bulk_answer(outcome, principal.user_id, undo)

    @router.post(f"{ROOT}/bulk/delete", response_model=BulkAnswer, responses=problems(*_ERRORS))
    async def delete(body: BulkIds, principal: Writer, atomic: Atomic = False) -> Response:
        """Delete up to 500 tasks."""
        actor, all_of_them = actor_of(principal), atomic or body.atomic
        outcome = await bulk.delete_many(means, actor, principal.user_id, body.ids, atomic=all_of_them)
        return bulk_answer(outcome, principal.user_id, undo)

    @router.post(f"{ROOT}/bulk/update", response_model=BulkAnswer, responses=problems(*_ERRORS))
    async def update(
        body: BulkUpdate, principal: Writer, allow_past: AllowPast = False, atomic: Atomic = False
    ) -> Response:
        """Merge the same changes into up to 500 tasks."""
        outcome = await bulk.edit_many(
            means,
            actor_of(principal),
            principal.user_id,
            body.ids,
            body.changes.edit(allow_past=allow_past),
            atomic=atomic or body.atomic,
        )
        return bulk_answer(outcome, principal.user_id, undo)

    return router
