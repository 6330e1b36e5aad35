"""What siblings may ask by service invocation, and nobody else. Not part of the public description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.responses import Response
from pydantic import BaseModel

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import NOTIFIER, RECURRENCE, REMINDERS
from event_contracts.values import Channel
from service_kit.problems import FieldError, Problem
from service_kit.settings import ServiceSettings
from service_kit.sidecar_auth import require_sibling
from task_api.application.read_snapshots import PAGE_MAX, SnapshotReader


class EpochAnswer(BaseModel):
    """Rises when PostgreSQL was restored from a backup."""

    epoch: int


class ContactAnswer(BaseModel):
    """Where and how a person is reached."""

    user_id: UUID
    email: str
    first_name: str | None
    locale: str
    timezone: str
    channels: tuple[Channel, ...]


class TaskPage(BaseModel):
    """Some open tasks; `next_cursor` is null on the last page."""

    items: list[TaskSnapshot]
    next_cursor: str | None
    epoch: int


class SeriesPage(BaseModel):
    """Some series that have not ended; `next_cursor` is null on the last page."""

    items: list[SeriesSnapshot]
    next_cursor: str | None
    epoch: int


Kind = Literal["tasks", "series"]


def install_internal(app: FastAPI, settings: ServiceSettings, snapshots: SnapshotReader) -> None:
    """Serve /internal/v1 to reminders, recurrence and notifier. Raises Problem 403 for everybody else."""
    siblings = Depends(require_sibling(settings, REMINDERS, RECURRENCE, NOTIFIER))
    router = APIRouter(prefix="/internal/v1", include_in_schema=False, dependencies=[siblings])
    router.add_api_route("/epoch", _epoch(snapshots), methods=["GET"])
    router.add_api_route("/tasks/{task_id}", _task(snapshots), methods=["GET"])
    router.add_api_route("/series/{series_id}", _series(snapshots), methods=["GET"])
    router.add_api_route("/users/{user_id}/contact", _contact(snapshots), methods=["GET"])
    router.add_api_route("/snapshot", _snapshot(snapshots), methods=["GET"])
    app.include_router(router)


def _epoch(snapshots: SnapshotReader) -> Callable[[], Awaitable[Response]]:
    async def epoch() -> Response:
        return _json(EpochAnswer(epoch=await snapshots.epoch()))

    return epoch


def _task(snapshots: SnapshotReader) -> Callable[[UUID], Awaitable[Response]]:
    async def task(task_id: UUID) -> Response:
        return _json(await snapshots.task(task_id), "task")

    return task


def _series(snapshots: SnapshotReader) -> Callable[[UUID], Awaitable[Response]]:
    async def series(series_id: UUID) -> Response:
        return _json(await snapshots.series(series_id), "series")

    return series


def _contact(snapshots: SnapshotReader) -> Callable[[UUID], Awaitable[Response]]:
    async def contact(user_id: UUID) -> Response:
        found = await snapshots.contact(user_id)
        return _json(
            None if found is None else ContactAnswer.model_validate(found, from_attributes=True), "user"
        )

    return contact


def _snapshot(snapshots: SnapshotReader) -> Callable[[Kind, str, int], Awaitable[Response]]:
    async def snapshot(
        kind: Kind, cursor: str = "", limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_MAX
    ) -> Response:
        after = _position(cursor)
        if kind == "tasks":
            tasks = await snapshots.tasks(after, limit)
            return _json(TaskPage(items=tasks.items, next_cursor=_cursor(tasks.after), epoch=tasks.epoch))
        series = await snapshots.all_series(after, limit)
        return _json(SeriesPage(items=series.items, next_cursor=_cursor(series.after), epoch=series.epoch))

    return snapshot


def _json(answer: BaseModel | None, what: str = "") -> Response:
    """Write a model as it is: made here, it needs no second check, and a page holds five hundred."""
    if answer is None:
        raise Problem(404, f"{what}_not_found", f"There is no such {what}.")
    return Response(answer.model_dump_json(), media_type="application/json")


def _cursor(after: UUID | None) -> str | None:
    return None if after is None else after.hex


def _position(cursor: str) -> UUID | None:
    if not cursor:
        return None
    try:
        return UUID(cursor)
    except ValueError as error:
        field = FieldError("cursor", "is not one that this service gave", "invalid_cursor")
        raise Problem(422, "validation_failed", "The cursor is not valid.", errors=(field,)) from error
