"""Take back a change."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from service_kit.auth import Principal
from task_api.application.ports import Means
from task_api.application.take_back import take_back
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.task_answers import TaskAnswer, TasksAnswer, json_answer
from task_api.entrypoints.http.undo_tokens import UndoTokens


def task_undo_routes(callers: Callers, means: Means, undo: UndoTokens) -> APIRouter:
    """Give the route that takes a change back."""
    router = APIRouter(tags=["tasks"])

    @router.post("/api/v1/undo/{token}", response_model=TasksAnswer, responses=problems(401, 404, 409, 422))
    async def undo_change(
        token: Annotated[
            str, Path(max_length=100, description="The X-Undo-Token of the answer to the change.")
        ],
        principal: Annotated[Principal, Depends(callers.write)],
    ) -> Response:
        """Take back one change, all of it: its tasks as they are now, if it has any. Undoing can be undone in turn."""
        change_id = undo.read(token, principal.user_id)
        taken = await take_back(means, actor_of(principal), principal.user_id, change_id)
        headers = undo.header(principal.user_id, taken.change_id)
        return json_answer(
            TasksAnswer(items=tuple(TaskAnswer.of(view) for view in taken.tasks)), 200, headers
        )

    return router
