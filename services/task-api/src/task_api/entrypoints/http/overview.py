"""What a person's tasks are like as a whole: tags and counts."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from starlette.convertors import PathConvertor, register_url_convertor

from event_contracts.values import TaskStatus
from service_kit.auth import Principal
from task_api.application import bulk
from task_api.application.ports import Means, TaskReader
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.conditional import IfChanged
from task_api.entrypoints.http.documented import NOT_MODIFIED, problems
from task_api.entrypoints.http.fields import Answer, Body, Tag
from task_api.entrypoints.http.task_answers import BulkAnswer, json_answer
from task_api.entrypoints.http.task_bulk import bulk_answer
from task_api.entrypoints.http.undo_tokens import UndoTokens

STATS_DAYS = 30


class _TagInPath(PathConvertor):
    """A tag to the end of the path: `/` in it has been decoded before routes are tried. Unlike `path` it is never
    empty, which would take the address of all tags, and it may hold the line breaks that a tag may."""

    regex = "(?s:.+)"


register_url_convertor("tag", _TagInPath())


class TagAnswer(Answer):
    """A tag, and how many tasks have it."""

    tag: str
    tasks: int


class TagsAnswer(Answer):
    """The tags in use, the most used first; a thousand at most."""

    items: tuple[TagAnswer, ...]


class TagRename(Body, json_schema_extra={"examples": [{"name": "household"}]}):
    """The new name. Where a task has that tag already, the two become one."""

    name: Tag


class StatsAnswer(Answer):
    """Counts of the tasks that are not deleted; `completed_per_day` of the last 30 days, in the person's zone."""

    by_status: dict[TaskStatus, int]
    overdue: int
    completed_per_day: dict[date, int]
    average_completion_seconds: float | None


def overview_routes(callers: Callers, means: Means, reader: TaskReader, undo: UndoTokens) -> APIRouter:
    """Give the routes of tags and counts."""
    router = APIRouter(tags=["overview"])
    Reader = Annotated[Principal, Depends(callers.read)]  # noqa: N806 - a type

    @router.get("/api/v1/tags", response_model=TagsAnswer, responses={**problems(401), **NOT_MODIFIED})
    async def tags(principal: Reader, seen: IfChanged) -> Response:
        """The tags in use, with counts."""
        changes = await reader.changes(principal.user_id)
        headers = seen.of(principal.user_id, changes)
        if headers["ETag"] in seen.tags:
            return Response(status_code=304, headers=headers)
        found = await reader.tags(principal.user_id)
        body = TagsAnswer(items=tuple(TagAnswer.model_validate(one) for one in found))
        return json_answer(body, 200, headers)

    @router.patch("/api/v1/tags/{tag:tag}", response_model=BulkAnswer, responses=problems(400, 401, 409, 422))
    async def rename(
        tag: Annotated[str, Path(min_length=1, max_length=50)],
        body: TagRename,
        principal: Annotated[Principal, Depends(callers.write)],
    ) -> Response:
        """Rename a tag on every task that has it, or merge it into another. One undo token takes all of it back."""

        async def tagged(limit: int) -> list[UUID]:
            return list(await reader.tagged(principal.user_id, tag, limit))

        outcome = await bulk.rename_tag(means, actor_of(principal), principal.user_id, tagged, tag, body.name)
        return bulk_answer(outcome, principal.user_id, undo)

    @router.get("/api/v1/stats", response_model=StatsAnswer, responses=problems(401))
    async def stats(principal: Reader) -> Response:
        """How many tasks there are, are overdue and were completed, and how long completing took on average."""
        found = await reader.stats(principal.user_id, await means.now(), STATS_DAYS)
        body = StatsAnswer(
            by_status=found.by_status,
            overdue=found.overdue,
            completed_per_day=found.completed,
            average_completion_seconds=found.average_seconds,
        )
        return json_answer(body)

    return router
