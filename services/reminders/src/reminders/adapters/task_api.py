"""task-api's internal routes by Dapr service invocation."""

from __future__ import annotations

from uuid import UUID

import httpx

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from reminders.application.ports import SnapshotPage
from service_kit.sidecar import Sidecar, SidecarUnavailable

_PAGE = 500


class InvokedTaskApi:
    """`TaskApi` through the own sidecar."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        answer = await self._sidecar.invoke(TASK_API, "GET", f"/internal/v1/tasks/{task_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return TaskSnapshot.model_validate_json(_content(answer))

    async def epoch(self) -> int:
        answer = await self._sidecar.invoke(TASK_API, "GET", "/internal/v1/epoch")
        _content(answer)
        return int(answer.json()["epoch"])

    async def page(self, cursor: str | None) -> SnapshotPage:
        params: dict[str, str | int] = {"kind": "tasks", "limit": _PAGE}
        if cursor is not None:
            params["cursor"] = cursor
        answer = await self._sidecar.invoke(
            TASK_API, "GET", "/internal/v1/snapshot", params=params, timeout=10.0
        )
        _content(answer)
        body = answer.json()
        tasks = [TaskSnapshot.model_validate(item) for item in body["items"]]
        return SnapshotPage(tasks, body["next_cursor"])


def _content(answer: httpx.Response) -> bytes:
    if not answer.is_success:
        raise SidecarUnavailable(f"task-api answered {answer.status_code}")
    return answer.content
