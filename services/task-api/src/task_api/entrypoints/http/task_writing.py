"""Make, change and delete tasks: wire to command, view to answer."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from service_kit.auth import Principal
from task_api.application import close_task, create_task, edit_task
from task_api.application.ports import Means
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.preconditions import Expected
from task_api.entrypoints.http.task_answers import ONE, ROOT, TaskAnswer, task_answer
from task_api.entrypoints.http.task_models import TaskCreate, TaskPatch

AllowPast = Annotated[bool, Query(description="Whether a due in the past is meant.")]


def task_writing_routes(callers: Callers, means: Means) -> APIRouter:
    """Give the routes that make, change and delete tasks."""
    router = APIRouter(tags=["tasks"])
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type

    @router.post(ROOT, status_code=201, response_model=TaskAnswer, responses=problems(401, 422))
    async def create(body: TaskCreate, principal: Writer, allow_past: AllowPast = False) -> Response:
        """Make a task."""
        request = body.request(allow_past=allow_past)
        view = await create_task.create_task(means, actor_of(principal), principal.user_id, request)
        answer = task_answer(view, 201)
        answer.headers["Location"] = f"{ROOT}/{view.task.id}"
        return answer

    @router.patch(ONE, response_model=TaskAnswer, responses=problems(400, 401, 404, 409, 412, 422))
    async def change(
        task_id: UUID, body: TaskPatch, principal: Writer, expected: Expected, allow_past: AllowPast = False
    ) -> Response:
        """Merge changes into a task; of a recurring one, into this instance."""
        edit = body.edit(allow_past=allow_past)
        actor = actor_of(principal)
        return task_answer(
            await edit_task.edit_task(means, actor, principal.user_id, task_id, edit, expected)
        )

    @router.delete(ONE, status_code=204, responses=problems(400, 401, 404, 412, 422))
    async def delete(
        task_id: UUID,
        principal: Writer,
        expected: Expected,
        scope: Annotated[
            Literal["instance", "series"], Query(description="Whether the whole series ends.")
        ] = "instance",
    ) -> Response:
        """Delete a task. An open instance of a series counts as skipped: the next one comes; `scope=series` ends it."""
        remove = close_task.delete_series if scope == "series" else close_task.delete_task
        await remove(means, actor_of(principal), principal.user_id, task_id, expected)
        return Response(status_code=204)

    return router
