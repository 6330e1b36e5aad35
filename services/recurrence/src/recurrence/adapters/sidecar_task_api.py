"""task-api by Dapr service invocation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar
from uuid import UUID

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from event_contracts.series import SeriesSnapshot
from recurrence.application.errors import TaskApiAway
from service_kit.sidecar import Sidecar, SidecarError

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
        return None if answer.status_code == httpx.codes.NOT_FOUND else _read(SeriesSnapshot, answer)

    async def all_series(self) -> AsyncIterator[Sequence[SeriesSnapshot]]:
        """Every series, page by page; one that cannot be read is logged and left out."""
        cursor: str | None = None
        while True:
            params: dict[str, str | int] = {"kind": "series", "limit": PAGE_SIZE}
            if cursor is not None:
                params["cursor"] = cursor
            page = _read(_Page, await self._get("/internal/v1/snapshot", params))
            yield [snapshot for item in page.items if (snapshot := _series(item)) is not None]
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _get(
        self, path: str, params: dict[str, str | int] | None = None, *, may_be_missing: bool = False
    ) -> httpx.Response:
        try:
            answer = await self._sidecar.invoke(TASK_API, "GET", path, params=params)
        except SidecarError as error:
            raise TaskApiAway(str(error)) from error
        if answer.is_success or (may_be_missing and answer.status_code == httpx.codes.NOT_FOUND):
            return answer
        raise TaskApiAway(f"task-api answered {answer.status_code} to {path}")


def _read(model: type[ModelT], answer: httpx.Response) -> ModelT:
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
