"""task-api by Dapr service invocation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

import structlog
from pydantic import BaseModel, ValidationError

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from recurrence.application.errors import TaskApiAway
from service_kit.sidecar import Answer, Sidecar, SidecarError

TASK_API = "task-api"
PAGE_SIZE = 500

_log = structlog.get_logger(__name__)


ModelT = TypeVar("ModelT", bound=BaseModel)


class _Epoch(BaseModel):
    epoch: int


class _Page(BaseModel):
    items: list[object]
    next_cursor: str | None = None


class SidecarTaskApi:
    """Asks task-api; every method raises TaskApiAway when it gives no answer to go by."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def epoch(self) -> int:
        """PostgreSQL's epoch."""
        answer = await self._get("/internal/v1/epoch")
        return _read(_Epoch, answer).epoch

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        """A series with its tip as of now; None when task-api has none of this id."""
        answer = await self._get(f"/internal/v1/series/{series_id}", may_be_missing=True)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else _read(SeriesSnapshot, answer)

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        """A task as of now; None when task-api has none of this id."""
        answer = await self._get(f"/internal/v1/tasks/{task_id}", may_be_missing=True)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else _read(TaskSnapshot, answer)

    async def all_series(self, since: datetime | None = None) -> AsyncIterator[Sequence[SeriesSnapshot]]:
        """Every series that has not ended, page by page; with `since` those changed since then, ended ones too.

        One that cannot be read is logged and left out.
        """
        cursor: str | None = None
        while True:
            params: dict[str, str | int] = {"kind": "series", "limit": PAGE_SIZE}
            if since is not None:
                params["since"] = since.isoformat()
            if cursor is not None:
                params["cursor"] = cursor
            page = _read(_Page, await self._get("/internal/v1/snapshot", params))
            yield [snapshot for item in page.items if (snapshot := _series(item)) is not None]
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _get(
        self, path: str, params: dict[str, str | int] | None = None, *, may_be_missing: bool = False
    ) -> Answer:
        try:
            answer = await self._sidecar.invoke(TASK_API, "GET", path, params=params)
        except SidecarError as error:
            raise TaskApiAway(str(error)) from error
        if answer.is_success or (may_be_missing and answer.status_code == HTTPStatus.NOT_FOUND):
            return answer
        raise TaskApiAway(f"task-api answered {answer.status_code} to {path}")


def _read(model: type[ModelT], answer: Answer) -> ModelT:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise TaskApiAway(f"task-api's answer is no {model.__name__.strip('_')}") from error


def _series(item: object) -> SeriesSnapshot | None:
    try:
        return SeriesSnapshot.model_validate(item)
    except ValidationError as error:
        _log.error("series_snapshot_not_readable", faults=error.error_count())
        return None
