"""The task routes: wire to command, view to answer."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from event_contracts.values import Actor, ActorKind, Priority, TaskStatus
from service_kit.auth import Principal
from task_api.application import close_task, create_task, edit_task
from task_api.application.ports import Means, Position, TaskFilter, TaskReader, TaskView
from task_api.domain.errors import TaskNotFound
from task_api.entrypoints.http.cursors import Cursors
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Instant
from task_api.entrypoints.http.preconditions import Expected, etag
from task_api.entrypoints.http.task_answers import CompletedAnswer, TaskAnswer, TaskPage
from task_api.entrypoints.http.task_models import CompletionBody, ReminderBody, TaskCreate, TaskPatch

_ROOT = "/api/v1/tasks"
_ONE = _ROOT + "/{task_id}"
PAGE_DEFAULT = 50
PAGE_MAX = 200

Caller = Callable[..., Awaitable[Principal]]
"""A FastAPI dependency that says who calls."""

AllowPast = Annotated[bool, Query(description="Whether a due in the past is meant.")]


class TaskQuery(BaseModel):
    """The filters of the list; each may be given several times. All tags must be there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: list[TaskStatus] = Field(default_factory=list)
    priority: list[Priority] = Field(default_factory=list)
    tag: list[str] = Field(default_factory=list, max_length=20)
    due_before: Instant | None = None
    due_after: Instant | None = None
    series_id: UUID | None = None
    sort: Literal["created_at"] = "created_at"
    order: Literal["desc"] = "desc"
    limit: int = Field(default=PAGE_DEFAULT, ge=1, le=PAGE_MAX)
    cursor: str | None = Field(default=None, max_length=200)

    def filter(self) -> TaskFilter:
        """Give which tasks are asked for."""
        return TaskFilter(
            status=tuple(self.status),
            priority=tuple(self.priority),
            tags=tuple(self.tag),
            due_before=self.due_before,
            due_after=self.due_after,
            series_id=self.series_id,
        )


def actor_of(principal: Principal) -> Actor:
    """Give the caller as the one who did it."""
    return Actor(kind=ActorKind.USER, id=str(principal.user_id))


def _answer(view: TaskView, status: int = 200) -> Response:
    return Response(
        TaskAnswer.of(view).model_dump_json(),
        status_code=status,
        media_type="application/json",
        headers={"ETag": etag(view.task.version)},
    )


def task_routes(caller: Caller, means: Means, reader: TaskReader, cursors: Cursors) -> APIRouter:
    """Give the routes under /api/v1/tasks, except the ledgers."""
    router = APIRouter(tags=["tasks"])
    _writing_routes(router, caller, means)
    _reading_routes(router, caller, reader, cursors)
    _closing_routes(router, caller, means, reader)
    _reminder_routes(router, caller, means)
    return router


def _writing_routes(router: APIRouter, caller: Caller, means: Means) -> None:
    As = Annotated[Principal, Depends(caller)]  # noqa: N806 - a type

    @router.post(_ROOT, status_code=201, response_model=TaskAnswer, responses=problems(401, 422))
    async def create(body: TaskCreate, principal: As, allow_past: AllowPast = False) -> Response:
        """Make a task."""
        request = body.request(allow_past=allow_past)
        view = await create_task.create_task(means, actor_of(principal), principal.user_id, request)
        answer = _answer(view, 201)
        answer.headers["Location"] = f"{_ROOT}/{view.task.id}"
        return answer

    @router.patch(_ONE, response_model=TaskAnswer, responses=problems(400, 401, 404, 409, 412, 422))
    async def change(
        task_id: UUID, body: TaskPatch, principal: As, expected: Expected, allow_past: AllowPast = False
    ) -> Response:
        """Merge changes into a task; of a recurring one, into this instance."""
        edit = body.edit(allow_past=allow_past)
        actor = actor_of(principal)
        return _answer(await edit_task.edit_task(means, actor, principal.user_id, task_id, edit, expected))

    @router.delete(_ONE, status_code=204, responses=problems(400, 401, 404, 412, 422))
    async def delete(
        task_id: UUID,
        principal: As,
        expected: Expected,
        scope: Annotated[
            Literal["instance", "series"], Query(description="Whether the whole series ends.")
        ] = "instance",
    ) -> Response:
        """Delete a task. An open instance of a series counts as skipped: the next one comes; `scope=series` ends it."""
        remove = close_task.delete_series if scope == "series" else close_task.delete_task
        await remove(means, actor_of(principal), principal.user_id, task_id, expected)
        return Response(status_code=204)


def _reading_routes(router: APIRouter, caller: Caller, reader: TaskReader, cursors: Cursors) -> None:
    As = Annotated[Principal, Depends(caller)]  # noqa: N806 - a type

    @router.get(_ROOT, response_model=TaskPage, responses=problems(401, 422))
    async def page(query: Annotated[TaskQuery, Query()], principal: As) -> Response:
        """The caller's tasks, newest first."""
        only = query.filter()
        where = f"tasks:{principal.user_id}:{only}"
        after = None if query.cursor is None else cursors.read(query.cursor, where)
        found = await reader.page(principal.user_id, only, after, query.limit + 1)
        shown, more = found[: query.limit], len(found) > query.limit
        cursor = None
        if more:
            last = shown[-1].task
            cursor = cursors.write(Position(last.created_at, last.id), where)
        body = TaskPage(items=tuple(TaskAnswer.of(view) for view in shown), next_cursor=cursor, has_next=more)
        return Response(body.model_dump_json(), media_type="application/json")

    @router.get(_ONE, response_model=TaskAnswer, responses=problems(401, 404, 422))
    async def read(task_id: UUID, principal: As) -> Response:
        """One task."""
        view = await reader.task(principal.user_id, task_id)
        if view is None:
            raise TaskNotFound("there is no such task")
        return _answer(view)


def _closing_routes(router: APIRouter, caller: Caller, means: Means, reader: TaskReader) -> None:
    As = Annotated[Principal, Depends(caller)]  # noqa: N806 - a type

    @router.patch(
        f"{_ONE}/complete", response_model=CompletedAnswer, responses=problems(400, 401, 404, 409, 412, 422)
    )
    @router.post(
        f"{_ONE}/complete", response_model=CompletedAnswer, responses=problems(400, 401, 404, 409, 412, 422)
    )
    async def complete(
        task_id: UUID, principal: As, expected: Expected, body: CompletionBody | None = None
    ) -> Response:
        """Complete a task, or open it again. Repeating it changes nothing."""
        change = close_task.complete_task if body is None or body.completed else close_task.reopen_task
        view = await change(means, actor_of(principal), principal.user_id, task_id, expected)
        following = None
        if view.task.series_id is not None and view.task.closed_by is not None:
            following = await reader.successor(principal.user_id, task_id)
        answer = CompletedAnswer.of(view, next=None if following is None else TaskAnswer.of(following))
        return Response(
            answer.model_dump_json(), media_type="application/json", headers={"ETag": etag(view.task.version)}
        )

    @router.post(f"{_ONE}/skip", response_model=TaskAnswer, responses=problems(400, 401, 404, 409, 412, 422))
    async def skip(task_id: UUID, principal: As, expected: Expected) -> Response:
        """Skip this occurrence of a recurring task: the next one comes."""
        return _answer(
            await close_task.skip_task(means, actor_of(principal), principal.user_id, task_id, expected)
        )


def _reminder_routes(router: APIRouter, caller: Caller, means: Means) -> None:
    As = Annotated[Principal, Depends(caller)]  # noqa: N806 - a type

    @router.post(
        f"{_ONE}/reminders",
        status_code=201,
        response_model=TaskAnswer,
        responses=problems(400, 401, 404, 412, 422),
    )
    async def add(task_id: UUID, body: ReminderBody, principal: As, expected: Expected) -> Response:
        """Put one more reminder on a task."""
        view = await edit_task.add_reminder(
            means, actor_of(principal), principal.user_id, task_id, body.request(), expected
        )
        return _answer(view, 201)

    @router.delete(
        f"{_ONE}/reminders/{{reminder_id}}", status_code=204, responses=problems(400, 401, 404, 412, 422)
    )
    async def remove(task_id: UUID, reminder_id: UUID, principal: As, expected: Expected) -> Response:
        """Take a reminder off a task."""
        view = await edit_task.remove_reminder(
            means, actor_of(principal), principal.user_id, task_id, reminder_id, expected
        )
        return Response(status_code=204, headers={"ETag": etag(view.task.version)})
