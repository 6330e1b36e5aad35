"""Show tasks: filters to a page, positions to cursors."""

from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from event_contracts.values import Priority, TaskStatus
from service_kit.auth import Principal
from task_api.application.as_of import task_as_of
from task_api.application.ports import Now, Order, Page, Position, Sort, TaskFilter, TaskReader
from task_api.domain.errors import TaskNotFound
from task_api.domain.search import has_words
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.conditional import VARY, IfChanged
from task_api.entrypoints.http.cursors import CURSOR_MAX, Cursors
from task_api.entrypoints.http.documented import NOT_MODIFIED, problems
from task_api.entrypoints.http.fields import STORABLE, Instant, Plain
from task_api.entrypoints.http.preconditions import reading_etag
from task_api.entrypoints.http.task_answers import ONE, ROOT, TaskAnswer, TaskPage, json_answer, task_answer

PAGE_DEFAULT = 50
PAGE_MAX = 200
OFFSET_MAX = 1_000

Limit = Annotated[int, Field(ge=1, le=PAGE_MAX, description="How many, at most.")]
Cursor = Annotated[str | None, Field(max_length=CURSOR_MAX, description="`next_cursor` of the page before.")]
Tags = Annotated[list[Plain], Field(max_length=20, description="Repeat it for several: all must be there.")]


def _searchable(words: str) -> str:
    if not has_words(words):
        raise ValueError("holds no word to look for")
    return words


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), STORABLE]


class TaskQuery(BaseModel):
    """The filters and the order of the list. Status and priority may be given several times, any of them will do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: list[TaskStatus] = Field(default_factory=list)
    priority: list[Priority] = Field(default_factory=list)
    tag: Tags = Field(default_factory=list)
    due_before: Instant | None = None
    due_after: Instant | None = None
    overdue: bool = Field(
        default=False, description="Open, and due before now; all-day tasks when their day is over."
    )
    updated_since: Instant | None = None
    q: Words | None = Field(
        default=None, description="Words that must be there, the last one as a beginning."
    )
    series_id: UUID | None = None
    number: int | None = Field(default=None, ge=1, le=2**31 - 1)
    deleted: bool = Field(default=False, description="The deleted tasks instead of the others.")
    sort: Sort = Sort.CREATED_AT
    order: Literal["asc", "desc"] | None = Field(
        default=None,
        description="Without it: the newest first, the next due first, the most urgent first, A to Z.",
    )
    limit: Limit = PAGE_DEFAULT
    cursor: Cursor = None
    offset: int = Field(
        default=0, ge=0, le=OFFSET_MAX, description="For older clients; a cursor is quicker and steady."
    )
    include: list[Literal["total"]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.cursor is not None and self.offset:
            raise ValueError("a page begins at a cursor or at an offset, not both")
        if self.q is not None:
            _searchable(self.q)
        return self

    def in_order(self) -> Order:
        """Give the order that is asked for."""
        ascending = self.sort in (Sort.DUE, Sort.TITLE) if self.order is None else self.order == "asc"
        return Order(self.sort, not ascending)


class SearchQuery(BaseModel):
    """What to look for: words as in web search, quotes, `or` and a leading minus included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: Words
    tags: Tags = Field(default_factory=list)
    limit: Limit = PAGE_DEFAULT
    cursor: Cursor = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _searchable(self.q)
        return self


async def _filter(query: TaskQuery, now: Now) -> TaskFilter:
    return TaskFilter(
        status=tuple(query.status),
        priority=tuple(query.priority),
        tags=tuple(query.tag),
        due_before=query.due_before,
        due_after=query.due_after,
        series_id=query.series_id,
        updated_since=query.updated_since,
        overdue_at=await now() if query.overdue else None,
        words=query.q,
        number=query.number,
        deleted=query.deleted,
    )


def _where(kind: str, principal: Principal, query: BaseModel) -> str:
    """What a cursor belongs to: the list with all that decides which tasks it has and in which order."""
    decides = query.model_dump_json(exclude={"cursor", "limit", "offset", "include"})
    return f"{kind}:{principal.user_id}:{decides}"


def _answer(
    found: Page, limit: int, cursors: Cursors, where: str, total: int | None, headers: dict[str, str]
) -> Response:
    more = len(found.tasks) > limit
    body = TaskPage(
        items=tuple(TaskAnswer.of(view) for view in found.tasks[:limit]),
        next_cursor=cursors.write(found.positions[limit - 1], where) if more else None,
        has_next=more,
        total=total,
    )
    return json_answer(body, 200, headers)


def task_reading_routes(callers: Callers, reader: TaskReader, cursors: Cursors, now: Now) -> APIRouter:
    """Give the routes that show tasks."""
    router = APIRouter(tags=["tasks"])
    Reader = Annotated[Principal, Depends(callers.read)]  # noqa: N806 - a type

    def position(kind: str, principal: Principal, query: TaskQuery | SearchQuery) -> Position | None:
        return None if query.cursor is None else cursors.read(query.cursor, _where(kind, principal, query))

    @router.get(ROOT, response_model=TaskPage, responses={**problems(401, 422), **NOT_MODIFIED})
    async def page(query: Annotated[TaskQuery, Query()], principal: Reader, seen: IfChanged) -> Response:
        """The caller's tasks, page by page."""
        after = position("tasks", principal, query)
        # What is overdue changes with the clock alone, so such a list is never the same for sure.
        unchanged = None if query.overdue else await seen.unchanged(reader.changes, principal.user_id)
        if unchanged is not None:
            return unchanged
        only = await _filter(query, now)
        found = await reader.page(
            principal.user_id, only, query.in_order(), after, query.limit + 1, query.offset
        )
        total = await reader.total(principal.user_id, only) if "total" in query.include else None
        headers = {} if query.overdue else seen.of(principal.user_id, found.changes)
        return _answer(found, query.limit, cursors, _where("tasks", principal, query), total, headers)

    @router.get(f"{ROOT}/search", response_model=TaskPage, responses={**problems(401, 422), **NOT_MODIFIED})
    async def search(query: Annotated[SearchQuery, Query()], principal: Reader, seen: IfChanged) -> Response:
        """Full text over titles, tags and descriptions, the best first, out of the newest thousand that match."""
        after = position("search", principal, query)
        unchanged = await seen.unchanged(reader.changes, principal.user_id)
        if unchanged is not None:
            return unchanged
        found = await reader.search(principal.user_id, query.q, query.tags, after, query.limit + 1)
        where = _where("search", principal, query)
        headers = seen.of(principal.user_id, found.changes)
        return _answer(found, query.limit, cursors, where, None, headers)

    @router.get(ONE, response_model=TaskAnswer, responses={**problems(401, 404, 422), **NOT_MODIFIED})
    async def read(
        task_id: UUID,
        principal: Reader,
        seen: IfChanged,
        as_of: Annotated[
            Instant | None, Query(description="The task as it was at this moment, deleted ones included.")
        ] = None,
    ) -> Response:
        """One task."""
        if as_of is not None:
            return task_answer(await task_as_of(reader, principal.user_id, task_id, as_of))
        view = await reader.task(principal.user_id, task_id)
        if view is None:
            raise TaskNotFound("there is no such task")
        body = TaskAnswer.of(view).model_dump_json().encode()
        tag = reading_etag(view.task.version, body)
        headers = {"ETag": tag, **VARY}
        # If-None-Match compares weakly (RFC 9110, 13.1.2): a proxy that compresses makes a tag weak.
        if {tag, f"W/{tag}"} & seen.tags:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return router
