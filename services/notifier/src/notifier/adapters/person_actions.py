"""What a person does by a link, handed to task-api by Dapr service invocation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from event_contracts.moments import written
from event_contracts.topics import TASK_API
from notifier.application.errors import LinkRefused, TaskApiUnavailable
from notifier.domain.links import Link
from service_kit.sidecar import Sidecar, SidecarError


class InvokedActions:
    """`PersonsActions` through the own sidecar."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def act(self, link: Link, first_followed: datetime) -> None:
        body = {"action": link.action.value, "user_id": str(link.user_id), "task_id": str(link.task_id)}
        until = link.snoozed_until(first_followed)
        if until is not None:
            body |= {"reminder_id": str(link.reminder_id), "until": written(until)}
        await self._post("/internal/v1/actions", body)

    async def stop_mail(self, user_id: UUID) -> None:
        await self._post("/internal/v1/actions/stop-mail", {"user_id": str(user_id)})

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        try:
            answer = await self._sidecar.invoke(TASK_API, "POST", path, json=body)
        except SidecarError as error:
            raise TaskApiUnavailable(str(error)) from error
        # 404: it is gone. 409 and 422: it is not what it was when the mail was sent. Anything else may pass.
        if answer.status_code in (404, 409, 422):
            raise LinkRefused(f"task-api answered {answer.status_code}")
        if not answer.is_success:
            raise TaskApiUnavailable(f"task-api answered {answer.status_code}")
