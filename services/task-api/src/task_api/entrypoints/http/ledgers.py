"""What happened to a task: the ledger of everything that was done and told, and the history of its fields.

A series has a history, too.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from service_kit.auth import Principal
from task_api.application.ports import Position, Revision, TaskReader
from task_api.domain.errors import SeriesNotFound, TaskNotFound
from task_api.entrypoints.http.cursors import CURSOR_MAX, Cursors
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.ledger_models import ActivityAnswer, ActivityPage, RevisionAnswer, RevisionPage
from task_api.entrypoints.http.task_reading import PAGE_DEFAULT, PAGE_MAX

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Cursor = Annotated[str | None, Query(max_length=CURSOR_MAX)]


def ledger_routes(
    caller: Callable[..., Awaitable[Principal]], reader: TaskReader, cursors: Cursors
) -> APIRouter:
    """Give the routes of a task's activity and history, which outlive its deletion, and of a series' history."""
    router = APIRouter()
    As = Annotated[Principal, Depends(caller)]  # noqa: N806 - a type

    def revisions(lines: Sequence[Revision], limit: int, of: UUID, where: str) -> Response:
        shown, more = lines[:limit], len(lines) > limit
        following = cursors.write(Position(shown[-1].version, of), where) if more else None
        body = RevisionPage(
            items=tuple(RevisionAnswer.of(line) for line in shown), next_cursor=following, has_next=more
        )
        return Response(body.model_dump_json(), media_type="application/json")

    @router.get(
        "/api/v1/tasks/{task_id}/activity",
        tags=["tasks"],
        response_model=ActivityPage,
        responses=problems(401, 404, 422),
    )
    async def activity(
        task_id: UUID, principal: As, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None
    ) -> Response:
        """Why was, or wasn't, I reminded: everything that happened, oldest first."""
        where = f"activity:{principal.user_id}:{task_id}"
        after = None if cursor is None else cursors.read(cursor, where)
        lines = await reader.activity(principal.user_id, task_id, after, limit + 1)
        if lines is None:
            raise TaskNotFound("there is no such task")
        shown, more = lines[:limit], len(lines) > limit
        following = cursors.write(Position(shown[-1].at, shown[-1].id), where) if more else None
        body = ActivityPage(
            items=tuple(ActivityAnswer.of(line) for line in shown), next_cursor=following, has_next=more
        )
        return Response(body.model_dump_json(), media_type="application/json")

    @router.get(
        "/api/v1/tasks/{task_id}/history",
        tags=["tasks"],
        response_model=RevisionPage,
        responses=problems(401, 404, 422),
    )
    async def history(
        task_id: UUID, principal: As, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None
    ) -> Response:
        """Who changed what, oldest first."""
        where = f"history:{principal.user_id}:{task_id}"
        after = 0 if cursor is None else _version(cursors.read(cursor, where))
        lines = await reader.history(principal.user_id, task_id, after, limit + 1)
        if lines is None:
            raise TaskNotFound("there is no such task")
        return revisions(lines, limit, task_id, where)

    @router.get(
        "/api/v1/series/{series_id}/history",
        tags=["series"],
        response_model=RevisionPage,
        responses=problems(401, 404, 422),
    )
    async def series_history(
        series_id: UUID, principal: As, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None
    ) -> Response:
        """Who changed what of a series, oldest first."""
        where = f"series_history:{principal.user_id}:{series_id}"
        after = 0 if cursor is None else _version(cursors.read(cursor, where))
        lines = await reader.series_history(principal.user_id, series_id, after, limit + 1)
        if lines is None:
            raise SeriesNotFound("there is no such series")
        return revisions(lines, limit, series_id, where)

    return router


def _version(position: Position) -> int:
    assert isinstance(position.key, int)  # noqa: S101 - cursors of a history hold nothing else
    return position.key
