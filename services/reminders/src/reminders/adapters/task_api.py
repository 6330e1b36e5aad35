"""task-api's internal routes by Dapr service invocation."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from reminders.application.ports import SnapshotPage
from service_kit.sidecar import Answer, Sidecar, SidecarUnavailable

_PAGE = 500
_SIDE_BY_SIDE = 10


class InvokedTaskApi:
    """`TaskApi` through the own sidecar."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        answer = await self._sidecar.invoke(TASK_API, "GET", f"/internal/v1/tasks/{task_id}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return TaskSnapshot.model_validate_json(_content(answer))

    async def some_tasks(self, task_ids: Collection[UUID]) -> dict[UUID, TaskSnapshot]:
        few = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def one(task_id: UUID) -> TaskSnapshot | None:
            async with few:
                return await self.task(task_id)

        found: dict[UUID, TaskSnapshot] = {}
        for answer in await asyncio.gather(*map(one, task_ids), return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                found[answer.task_id] = answer
        return found

    async def epoch(self) -> int:
        answer = await self._sidecar.invoke(TASK_API, "GET", "/internal/v1/epoch")
        _content(answer)
        return int(answer.json()["epoch"])

    async def page(self, cursor: str | None, since: datetime | None = None) -> SnapshotPage:
        params: dict[str, str | int] = {"kind": "tasks", "limit": _PAGE}
        if since is not None:
            params["since"] = since.isoformat()
        if cursor is not None:
            params["cursor"] = cursor
        answer = await self._sidecar.invoke(
            TASK_API, "GET", "/internal/v1/snapshot", params=params, timeout=10.0
        )
        _content(answer)
        body = answer.json()
        tasks = [TaskSnapshot.model_validate(item) for item in body["items"]]
        return SnapshotPage(tasks, body["next_cursor"])


def _content(answer: Answer) -> bytes:
    if not answer.is_success:
        raise SidecarUnavailable(f"task-api answered {answer.status_code}")
    return answer.content
