"""task-api's internal routes by Dapr service invocation."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from pydantic import BaseModel

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from reminders.application.ports import SnapshotPage
from service_kit.sidecar import Answer, Sidecar, SidecarUnavailable

_PAGE = 500
_NO_SUCH_ROUTE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


class _Tasks(BaseModel):
    items: list[TaskSnapshot]


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
        ids = [str(task_id) for task_id in task_ids]
        answer = await self._sidecar.invoke(TASK_API, "POST", "/internal/v1/tasks", json={"ids": ids})
        if answer.status_code in _NO_SUCH_ROUTE:  # of a release before this one
            return await self._each_alone(task_ids)
        return {task.task_id: task for task in _Tasks.model_validate_json(_content(answer)).items}

    async def _each_alone(self, task_ids: Collection[UUID]) -> dict[UUID, TaskSnapshot]:
        found = [await self.task(task_id) for task_id in task_ids]
        return {task.task_id: task for task in found if task is not None}

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
