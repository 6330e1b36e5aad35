"""Make, change and delete tasks: wire to command, view to answer."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from service_kit.auth import Principal
from task_api.application import close_task, create_task, edit_task
from task_api.application.edit_series import edit_series_from_task
from task_api.application.ports import Means, TaskView
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.idempotency import OnlyOnce, kept, replay
from task_api.entrypoints.http.preconditions import Expected
from task_api.entrypoints.http.task_answers import ONE, ROOT, TaskAnswer, task_answer
from task_api.entrypoints.http.task_models import TaskCreate, TaskPatch, TaskPut
from task_api.entrypoints.http.undo_tokens import UndoTokens

AllowPast = Annotated[bool, Query(description="Whether a due in the past is meant.")]


def task_writing_routes(callers: Callers, means: Means, undo: UndoTokens) -> APIRouter:
    """Give the routes that make, change and delete tasks."""
    router = APIRouter(tags=["tasks"])
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type

    def created(view: TaskView) -> Response:
        answer = task_answer(view, undo, 201)
        answer.headers["Location"] = f"{ROOT}/{view.task.id}"
        return answer

    @router.post(ROOT, status_code=201, response_model=TaskAnswer, responses=problems(400, 401, 409, 422))
    async def create(
        body: TaskCreate, principal: Writer, once: OnlyOnce, allow_past: AllowPast = False
    ) -> Response:
        """Make a task."""
        request, actor = body.request(allow_past=allow_past), actor_of(principal)
        if once is None:
            return created(await create_task.create_task(means, actor, principal.user_id, request))
        answer, given_before = await create_task.create_task_once(
            means, actor, principal.user_id, request, once, lambda view: kept(created(view))
        )
        return replay(answer, given_before=given_before)

    @router.patch(ONE, response_model=TaskAnswer, responses=problems(400, 401, 404, 409, 412, 422))
    async def change(
        task_id: UUID,
        body: TaskPatch,
        principal: Writer,
        expected: Expected,
        allow_past: AllowPast = False,
        scope: Annotated[
            Literal["instance", "series"], Query(description="Whether it counts for what comes after, too.")
        ] = "instance",
    ) -> Response:
        """Merge changes into a task; of a recurring one into this instance, with `scope=series` into it and later."""
        edit, actor = body.edit(allow_past=allow_past), actor_of(principal)
        apply = edit_series_from_task if scope == "series" else edit_task.edit_task
        view = await apply(means, actor, principal.user_id, task_id, edit, expected)
        return task_answer(view, undo)

    @router.put(ONE, response_model=TaskAnswer, responses=problems(400, 401, 404, 409, 412, 422))
    async def replace(
        task_id: UUID, body: TaskPut, principal: Writer, expected: Expected, allow_past: AllowPast = False
    ) -> Response:
        """Replace all that can be changed of a task: every field is named."""
        edit, actor = body.edit(allow_past=allow_past), actor_of(principal)
        view = await edit_task.edit_task(means, actor, principal.user_id, task_id, edit, expected)
        return task_answer(view, undo)

    @router.delete(ONE, status_code=204, responses=problems(400, 401, 404, 409, 412, 422))
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
        view = await remove(means, actor_of(principal), principal.user_id, task_id, expected)
        return Response(status_code=204, headers=undo.of(view))

    return router
