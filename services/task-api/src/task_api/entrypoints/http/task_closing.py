"""Complete, reopen, skip and restore tasks."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from service_kit.auth import Principal
from task_api.application import close_task
from task_api.application.ports import Means, TaskReader
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.preconditions import Expected, etag
from task_api.entrypoints.http.task_answers import ONE, CompletedAnswer, TaskAnswer, json_answer, task_answer
from task_api.entrypoints.http.task_models import CompletionBody
from task_api.entrypoints.http.undo_tokens import UndoTokens


def task_closing_routes(callers: Callers, means: Means, reader: TaskReader, undo: UndoTokens) -> APIRouter:
    """Give the routes that complete, reopen, skip and restore tasks."""
    router = APIRouter(tags=["tasks"])
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type

    @router.patch(
        f"{ONE}/complete", response_model=CompletedAnswer, responses=problems(400, 401, 404, 409, 412, 422)
    )
    @router.post(
        f"{ONE}/complete", response_model=CompletedAnswer, responses=problems(400, 401, 404, 409, 412, 422)
    )
    async def complete(
        task_id: UUID, principal: Writer, expected: Expected, body: CompletionBody | None = None
    ) -> Response:
        """Complete a task, or open it again. Repeating it changes nothing."""
        change = close_task.complete_task if body is None or body.completed else close_task.reopen_task
        view = await change(means, actor_of(principal), principal.user_id, task_id, expected)
        following = None
        if view.task.series_id is not None and view.task.closed_by is not None:
            following = await reader.successor(principal.user_id, task_id)
        answer = CompletedAnswer.of(view, next=None if following is None else TaskAnswer.of(following))
        return json_answer(answer, 200, {"ETag": etag(view.task.version)} | undo.of(view))

    @router.post(f"{ONE}/skip", response_model=TaskAnswer, responses=problems(400, 401, 404, 409, 412, 422))
    async def skip(task_id: UUID, principal: Writer, expected: Expected) -> Response:
        """Skip this occurrence of a recurring task: the next one comes."""
        view = await close_task.skip_task(means, actor_of(principal), principal.user_id, task_id, expected)
        return task_answer(view, undo)

    @router.post(
        f"{ONE}/restore", response_model=TaskAnswer, responses=problems(400, 401, 404, 409, 412, 422)
    )
    async def restore(task_id: UUID, principal: Writer, expected: Expected) -> Response:
        """Bring a deleted task back. An instance of a series gets its slot back from an untouched successor."""
        view = await close_task.restore_task(means, actor_of(principal), principal.user_id, task_id, expected)
        return task_answer(view, undo)

    return router
