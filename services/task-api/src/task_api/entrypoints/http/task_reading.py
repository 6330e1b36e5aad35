"""Show tasks: filters to a page, positions to cursors."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from event_contracts.values import Priority, TaskStatus
from service_kit.auth import Principal
from task_api.application.ports import Position, TaskFilter, TaskReader
from task_api.domain.errors import TaskNotFound
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.cursors import Cursors
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Instant
from task_api.entrypoints.http.task_answers import ONE, ROOT, TaskAnswer, TaskPage, task_answer

PAGE_DEFAULT = 50
PAGE_MAX = 200


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


def task_reading_routes(callers: Callers, reader: TaskReader, cursors: Cursors) -> APIRouter:
    """Give the routes that show tasks."""
    router = APIRouter(tags=["tasks"])
    Reader = Annotated[Principal, Depends(callers.read)]  # noqa: N806 - a type

    @router.get(ROOT, response_model=TaskPage, responses=problems(401, 422))
    async def page(query: Annotated[TaskQuery, Query()], principal: Reader) -> Response:
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

    @router.get(ONE, response_model=TaskAnswer, responses=problems(401, 404, 422))
    async def read(task_id: UUID, principal: Reader) -> Response:
        """One task."""
        view = await reader.task(principal.user_id, task_id)
        if view is None:
            raise TaskNotFound("there is no such task")
        return task_answer(view)

    return router
