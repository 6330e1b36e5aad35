"""task-api's internal routes by Dapr service invocation; addresses are remembered for a short while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from event_contracts.notifications import DeliveryOutcome
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from event_contracts.values import Channel
from notifier.application.announce import notification_of
from notifier.application.errors import TaskApiUnavailable
from notifier.application.few_at_once import few_at_once
from notifier.domain.announced import Announced, AnnouncedPage, Told
from notifier.domain.contact import Contact
from notifier.domain.notifications import Notification
from notifier.domain.occurrences import occurrence_id
from service_kit.asked_together import AskedTogether
from service_kit.sidecar import Answer, Sidecar, SidecarError

_REMEMBERED = 10_000
_CONTACT = TypeAdapter(Contact)

ReadT = TypeVar("ReadT")


@dataclass(frozen=True)
class _EpochAnswer:
    epoch: int


_EPOCH = TypeAdapter(_EpochAnswer)


@dataclass(frozen=True)
class _Outcome:
    notification_id: UUID
    channel: Channel
    outcome: DeliveryOutcome
    attempt: int
    reason: str | None
    at: datetime
    read_at: datetime | None
    destination_id: UUID | None = None
    """Of a release before this one there is none: an outcome then is that of the whole channel."""


@dataclass(frozen=True)
class _Announcement:
    reminder_id: UUID | None
    task_id: UUID
    user_id: UUID
    fire_at: datetime
    fired_at: datetime
    outcomes: list[_Outcome]
    occurrence_key: str | None = None
    """Of a release before this one there is none: it tells of reminders alone."""


@dataclass(frozen=True)
class _AnnouncementPage:
    items: list[_Announcement]
    next_cursor: str | None


_ANNOUNCEMENTS = TypeAdapter(_AnnouncementPage)
_PAGE = 500
"""The most that task-api gives in one answer."""
_PAGE_TIMEOUT = 10.0


@dataclass(frozen=True)
class _Tasks:
    items: list[TaskSnapshot]


_TASKS = TypeAdapter(_Tasks)
_NO_SUCH_ROUTE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


def _announced(item: _Announcement) -> Announced:
    """Of all outcomes, those of the notification for this moment of the reminder, or this slot of the occurrence.

    A try that comes again ended nothing.
    """
    if item.reminder_id is None:
        identity = occurrence_id(item.task_id, item.occurrence_key)
        notification = Notification(identity, item.task_id, None, item.user_id, item.fire_at)
    else:
        notification = notification_of(
            item.reminder_id, item.task_id, item.user_id, item.fire_at, item.fired_at
        )
    mine = [
        one
        for one in item.outcomes
        if one.notification_id == notification.notification_id
        and one.outcome is not DeliveryOutcome.TO_BE_REPEATED
    ]
    told = [
        Told(one.channel, one.outcome, one.attempt, one.reason, one.at, one.destination_id) for one in mine
    ]
    return Announced(notification, told, next((one.read_at for one in mine if one.read_at), None))


class InvokedTaskApi:
    """`TaskApi` through the own sidecar. `remember` (s) bounds how old a contact may be."""

    def __init__(
        self, sidecar: Sidecar, *, remember: float, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._sidecar = sidecar
        self._remember = remember
        self._elapsed = elapsed
        self._contacts: OrderedDict[UUID, tuple[float, Contact]] = OrderedDict()
        self._answers = True
        self._single_tasks = AskedTogether(self._known_tasks, at_most=_PAGE)

    @property
    def answers(self) -> bool:
        """Whether the last question was answered, be it with a no."""
        return self._answers

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        return await self._single_tasks.one(task_id)

    async def _known_tasks(self, task_ids: Sequence[UUID]) -> Mapping[UUID, TaskSnapshot]:
        found = await (self._some_tasks(task_ids) if len(task_ids) > 1 else self._each_alone(task_ids))
        return {task.task_id: task for task in found}

    async def _each_alone(self, task_ids: Sequence[UUID]) -> Sequence[TaskSnapshot]:
        return [task for task in await few_at_once(self._one_task, task_ids) if task is not None]

    async def _one_task(self, task_id: UUID) -> TaskSnapshot | None:
        content = await self._get(f"/internal/v1/tasks/{task_id}")
        return None if content is None else _read(TaskSnapshot.model_validate_json, content)

    async def tasks(self, task_ids: Collection[UUID]) -> Sequence[TaskSnapshot]:
        wanted = list(task_ids)
        found: list[TaskSnapshot] = []
        for start in range(0, len(wanted), _PAGE):
            found += await self._some_tasks(wanted[start : start + _PAGE])
        return found

    async def _some_tasks(self, task_ids: Sequence[UUID]) -> Sequence[TaskSnapshot]:
        ids = [str(one) for one in task_ids]
        answer = await self._invoke("POST", "/internal/v1/tasks", json={"ids": ids}, timeout=_PAGE_TIMEOUT)
        if answer.status_code in _NO_SUCH_ROUTE:  # of a release before this one
            return await self._each_alone(task_ids)
        return _read(_TASKS.validate_json, _content(answer)).items

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

    async def announced(self, cursor: str | None, since: datetime) -> AnnouncedPage:
        params: dict[str, str | int] = {
            "kind": "announcements",
            "occurrences": "true",
            "since": since.isoformat(),
            "limit": _PAGE,
        }
        if cursor is not None:
            params["cursor"] = cursor
        content = await self._get("/internal/v1/snapshot", params=params, timeout=_PAGE_TIMEOUT)
        if content is None:
            raise TaskApiUnavailable("task-api gives no announcements")
        page = _read(_ANNOUNCEMENTS.validate_json, content)
        return AnnouncedPage([_announced(item) for item in page.items], page.next_cursor)

    async def remove_push(self, push_id: UUID) -> None:
        answer = await self._invoke("DELETE", f"/internal/v1/push-subscriptions/{push_id}")
        if answer.status_code != HTTPStatus.NOT_FOUND:
            _content(answer)

    def forget(self, user_id: UUID) -> None:
        self._contacts.pop(user_id, None)

    async def _get(
        self,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        timeout: float = 2.0,  # noqa: ASYNC109 - seconds for the sidecar's client, which ends the request itself
    ) -> bytes | None:
        answer = await self._invoke("GET", path, params=params, timeout=timeout)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else _content(answer)

    async def _invoke(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        timeout: float = 2.0,  # noqa: ASYNC109 - as above
    ) -> Answer:
        try:
            answer = await self._sidecar.invoke(
                TASK_API, method, path, params=params, json=json, timeout=timeout
            )
        except SidecarError as error:
            self._answers = False
            raise TaskApiUnavailable(str(error)) from error
        self._answers = True
        return answer


def _content(answer: Answer) -> bytes:
    if not answer.is_success:
        raise TaskApiUnavailable(f"task-api answered {answer.status_code}")
    return answer.content


def _read(parse: Callable[[bytes], ReadT], content: bytes) -> ReadT:
    try:
        return parse(content)
    except ValidationError as error:
        raise TaskApiUnavailable(f"task-api's answer cannot be read: {error.error_count()} faults") from error
