"""task-api's internal routes by Dapr service invocation; addresses are remembered for a short while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import httpx
from pydantic import TypeAdapter, ValidationError

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from notifier.application.errors import TaskApiUnavailable
from notifier.domain.contact import Contact
from service_kit.sidecar import Sidecar, SidecarError

_REMEMBERED = 10_000
_CONTACT = TypeAdapter(Contact)

ReadT = TypeVar("ReadT")


@dataclass(frozen=True)
class _EpochAnswer:
    epoch: int


_EPOCH = TypeAdapter(_EpochAnswer)


class InvokedTaskApi:
    """`TaskApi` through the own sidecar. `remember` (s) bounds how old a contact may be."""

    def __init__(
        self, sidecar: Sidecar, *, remember: float, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._sidecar = sidecar
        self._remember = remember
        self._elapsed = elapsed
        self._contacts: OrderedDict[UUID, tuple[float, Contact]] = OrderedDict()

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        content = await self._get(f"/internal/v1/tasks/{task_id}")
        return None if content is None else _read(TaskSnapshot.model_validate_json, content)

    async def contact(self, user_id: UUID) -> Contact | None:
        known = self._contacts.get(user_id)
        if known is not None and self._elapsed() - known[0] < self._remember:
            return known[1]
        content = await self._get(f"/internal/v1/users/{user_id}/contact")
        if content is None:
            self.forget(user_id)
            return None
        contact = _read(_CONTACT.validate_json, content)
        self._contacts[user_id] = (self._elapsed(), contact)
        self._contacts.move_to_end(user_id)
        while len(self._contacts) > _REMEMBERED:
            self._contacts.popitem(last=False)
        return contact

    async def epoch(self) -> int:
        content = await self._get("/internal/v1/epoch")
        if content is None:
            raise TaskApiUnavailable("task-api does not know its epoch")
        return _read(_EPOCH.validate_json, content).epoch

    def forget(self, user_id: UUID) -> None:
        self._contacts.pop(user_id, None)

    async def _get(self, path: str) -> bytes | None:
        try:
            answer = await self._sidecar.invoke(TASK_API, "GET", path)
        except SidecarError as error:
            raise TaskApiUnavailable(str(error)) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise TaskApiUnavailable(f"task-api answered {answer.status_code}")
        return answer.content


def _read(parse: Callable[[bytes], ReadT], content: bytes) -> ReadT:
    try:
        return parse(content)
    except ValidationError as error:
        raise TaskApiUnavailable(f"task-api's answer cannot be read: {error.error_count()} faults") from error
