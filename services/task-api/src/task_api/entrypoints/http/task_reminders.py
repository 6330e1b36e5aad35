"""The reminders of a task."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from service_kit.auth import Principal
from task_api.application import answer_reminder, edit_task
from task_api.application.ports import Means
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.preconditions import Expected, etag
from task_api.entrypoints.http.task_answers import ONE, TaskAnswer, task_answer
from task_api.entrypoints.http.task_models import ReminderBody, SnoozeBody
from task_api.entrypoints.http.undo_tokens import UndoTokens


def task_reminder_routes(callers: Callers, means: Means, undo: UndoTokens) -> APIRouter:
    """Give the routes of a task's reminders."""
    router = APIRouter(tags=["tasks"])
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type

    @router.post(
        f"{ONE}/reminders",
        status_code=201,
        response_model=TaskAnswer,
        responses=problems(400, 401, 404, 412, 422),
    )
    async def add(task_id: UUID, body: ReminderBody, principal: Writer, expected: Expected) -> Response:
        """Put one more reminder on a task."""
        view = await edit_task.add_reminder(
            means, actor_of(principal), principal.user_id, task_id, body.request(), expected
        )
        return task_answer(view, undo, 201)

    @router.delete(
        f"{ONE}/reminders/{{reminder_id}}", status_code=204, responses=problems(400, 401, 404, 412, 422)
    )
    async def remove(task_id: UUID, reminder_id: UUID, principal: Writer, expected: Expected) -> Response:
        """Take a reminder off a task."""
        view = await edit_task.remove_reminder(
            means, actor_of(principal), principal.user_id, task_id, reminder_id, expected
        )
        return Response(status_code=204, headers={"ETag": etag(view.task.version)} | undo.of(view))

    @router.post(
        f"{ONE}/reminders/{{reminder_id}}/snooze",
        response_model=TaskAnswer,
        responses=problems(400, 401, 404, 409, 412, 422),
    )
    async def snooze(
        task_id: UUID, reminder_id: UUID, body: SnoozeBody, principal: Writer, expected: Expected
    ) -> Response:
        """Let a reminder fire later: at a moment, or so many minutes from now."""
        view = await answer_reminder.snooze_reminder(
            means, actor_of(principal), principal.user_id, task_id, reminder_id, body.moment(), expected
        )
        return task_answer(view, undo)

    @router.post(
        f"{ONE}/reminders/{{reminder_id}}/ack",
        response_model=TaskAnswer,
        responses=problems(400, 401, 404, 409, 412, 422),
    )
    async def acknowledge(
        task_id: UUID, reminder_id: UUID, principal: Writer, expected: Expected
    ) -> Response:
        """Say that a reminder was heard. Repeating it changes nothing."""
        view = await answer_reminder.acknowledge_reminder(
            means, actor_of(principal), principal.user_id, task_id, reminder_id, expected
        )
        return task_answer(view, undo)

    return router
