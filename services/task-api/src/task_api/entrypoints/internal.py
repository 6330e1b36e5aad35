"""What siblings may ask by service invocation, and nobody else. Not part of the public description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import NOTIFIER, RECURRENCE, REMINDERS
from event_contracts.values import Channel, LatePolicy, UtcInstant, WallTime
from service_kit.problems import FieldError, Problem
from service_kit.settings import ServiceSettings
from service_kit.sidecar_auth import require_sibling
from task_api.application.ports import Means
from task_api.application.preferences import NotificationPreferences
from task_api.application.read_contact import Contact, ContactReader
from task_api.application.read_snapshots import PAGE_MAX, AfterAnnouncement, SnapshotReader
from task_api.entrypoints.http.fields import Answer, Body, Instant, at_most
from task_api.entrypoints.http.origins import origin_at_a_sibling
from task_api.entrypoints.http.undo_tokens import UndoTokens
from task_api.entrypoints.internal_actions import ForPeople, action_routes


class EpochAnswer(BaseModel):
    """Rises when PostgreSQL was restored from a backup."""

    epoch: int


class WebhookContact(Answer):
    """Where a signed POST goes."""

    id: UUID
    name: str
    url: str
    secret: str


class ChatContact(Answer):
    """An Apprise address."""

    id: UUID
    name: str
    url: str


class PushContact(Answer):
    """A browser's subscription and its keys."""

    id: UUID
    name: str
    endpoint: str
    p256dh: str
    auth: str


class QuietHoursContact(Answer):
    """Wall-clock times in the person's zone."""

    start: WallTime
    until: WallTime


class ContactAnswer(Answer):
    """Where and how a person is reached. `channels` are those that are meant when a reminder names none."""

    user_id: UUID
    email: str
    first_name: str | None
    locale: str
    timezone: str
    day_start: WallTime
    channels: tuple[Channel, ...]
    webhooks: tuple[WebhookContact, ...]
    chats: tuple[ChatContact, ...]
    push: tuple[PushContact, ...]
    quiet_hours: QuietHoursContact | None
    late_policy: LatePolicy
    drop_after: timedelta | None
    generated: bool

    @classmethod
    def of(cls, found: Contact) -> Self:
        """Give a contact as it is handed out."""
        said = {name: getattr(found.preferences, name) for name in _SAID}
        own = {name: getattr(found, name) for name in cls.model_fields.keys() - said.keys()}
        return cls.model_validate(own | said)


_SAID = ("webhooks", "chats", "push", "quiet_hours", "late_policy", "drop_after", "generated")


class TaskIds(Body):
    """The tasks that are asked for; one that is named twice is given once."""

    ids: Annotated[tuple[UUID, ...], Field(max_length=PAGE_MAX), at_most(PAGE_MAX)]


class Tasks(BaseModel):
    """Those of the tasks that there are, deleted ones included, in no order."""

    items: list[TaskSnapshot]


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


class OutcomeAnswer(Answer):
    """How one notification of a reminder fared on one channel, or at one of the places that it leads to."""

    notification_id: UUID
    channel: Channel
    outcome: str
    attempt: int
    reason: str | None
    at: UtcInstant
    read_at: UtcInstant | None
    destination_id: UUID | None


class AnnouncementAnswer(Answer):
    """A reminder that fired, or an occurrence that was made at its key, and all outcomes told of it."""

    reminder_id: UUID | None
    occurrence_key: str | None
    task_id: UUID
    user_id: UUID
    fire_at: UtcInstant
    fired_at: UtcInstant
    outcomes: tuple[OutcomeAnswer, ...]


class AnnouncementPage(BaseModel):
    """Some of what there was to tell of; `next_cursor` is null on the last page."""

    items: list[AnnouncementAnswer]
    next_cursor: str | None
    epoch: int


@dataclass(frozen=True)
class ForSiblings:
    """What the routes stand on."""

    snapshots: SnapshotReader
    contacts: ContactReader
    preferences: NotificationPreferences
    means: Means
    undo: UndoTokens


Kind = Literal["tasks", "series", "announcements"]


def install_internal(app: FastAPI, settings: ServiceSettings, given: ForSiblings) -> None:
    """Serve /internal/v1 to reminders, recurrence and notifier. Raises Problem 403 for everybody else.

    Addresses and secrets go to notifier alone, and only it speaks in people's names.
    """
    siblings = Depends(require_sibling(settings, REMINDERS, RECURRENCE, NOTIFIER))
    router = APIRouter(prefix="/internal/v1", include_in_schema=False, dependencies=[siblings])
    snapshots = given.snapshots
    router.add_api_route("/epoch", _epoch(snapshots), methods=["GET"])
    # Asked by POST for the length of it; nothing is written.
    router.add_api_route("/tasks", _some_tasks(snapshots), methods=["POST"])
    router.add_api_route("/tasks/{task_id}", _task(snapshots), methods=["GET"])
    router.add_api_route("/series/{series_id}", _series(snapshots), methods=["GET"])
    router.add_api_route("/snapshot", _snapshot(snapshots), methods=["GET"])
    app.include_router(router)

    notifier = Depends(require_sibling(settings, NOTIFIER))
    people = APIRouter(prefix="/internal/v1", include_in_schema=False, dependencies=[notifier])
    people.add_api_route("/users/{user_id}/contact", _contact(given.contacts), methods=["GET"])
    people.add_api_route(
        "/push-subscriptions/{push_id}",
        _push_gone(given.preferences),
        methods=["DELETE"],
        status_code=204,
    )
    people.include_router(
        action_routes(ForPeople(given.contacts, given.preferences, given.means, given.undo))
    )
    app.include_router(people)


def _epoch(snapshots: SnapshotReader) -> Callable[[], Awaitable[Response]]:
    async def epoch() -> Response:
        return _json(EpochAnswer(epoch=await snapshots.epoch()))

    return epoch


def _task(snapshots: SnapshotReader) -> Callable[[UUID], Awaitable[Response]]:
    async def task(task_id: UUID) -> Response:
        return _json(await snapshots.task(task_id), "task")

    return task


def _some_tasks(snapshots: SnapshotReader) -> Callable[[TaskIds], Awaitable[Response]]:
    async def some_tasks(body: TaskIds) -> Response:
        return _json(Tasks(items=await snapshots.some_tasks(body.ids)))

    return some_tasks


def _series(snapshots: SnapshotReader) -> Callable[[UUID], Awaitable[Response]]:
    async def series(series_id: UUID) -> Response:
        return _json(await snapshots.series(series_id), "series")

    return series


def _contact(contacts: ContactReader) -> Callable[[UUID], Awaitable[Response]]:
    async def contact(user_id: UUID) -> Response:
        found = await contacts.contact(user_id)
        return _json(None if found is None else ContactAnswer.of(found), "user")

    return contact


def _push_gone(preferences: NotificationPreferences) -> Callable[[UUID], Awaitable[Response]]:
    async def push_gone(push_id: UUID) -> Response:
        await preferences.push_gone(push_id, origin_at_a_sibling())
        return Response(status_code=204)

    return push_gone


def _snapshot(snapshots: SnapshotReader) -> Callable[..., Awaitable[Response]]:
    async def snapshot(
        kind: Kind,
        cursor: str = "",
        since: Instant | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_MAX,
        # Asked for by name: a notifier of an older release reads reminders alone.
        occurrences: bool = False,
    ) -> Response:
        if kind == "tasks":
            tasks = await snapshots.tasks(_position(cursor), limit, since)
            after = tasks.items[-1].task_id.hex if tasks.more else None
            return _json(TaskPage(items=tasks.items, next_cursor=after, epoch=tasks.epoch))
        if kind == "series":
            series = await snapshots.all_series(_position(cursor), limit, since)
            after = series.items[-1].series_id.hex if series.more else None
            return _json(SeriesPage(items=series.items, next_cursor=after, epoch=series.epoch))
        fired = await snapshots.announcements(_announcement(cursor), limit, since, occurrences=occurrences)
        last = fired.items[-1] if fired.more else None
        after = None if last is None else f"{last.fired_at.isoformat()}~{last.id.hex}"
        items = [AnnouncementAnswer.model_validate(one) for one in fired.items]
        return _json(AnnouncementPage(items=items, next_cursor=after, epoch=fired.epoch))

    return snapshot


def _json(answer: BaseModel | None, what: str = "") -> Response:
    """Write a model as it is: made here, it needs no second check, and a page holds five hundred."""
    if answer is None:
        raise Problem(404, f"{what}_not_found", f"There is no such {what}.")
    return Response(answer.model_dump_json(), media_type="application/json")


def _position(cursor: str) -> UUID | None:
    with _own_cursor():
        return UUID(cursor) if cursor else None


def _announcement(cursor: str) -> AfterAnnouncement | None:
    with _own_cursor():
        at, _, last = cursor.partition("~")
        return AfterAnnouncement(datetime.fromisoformat(at), UUID(last)) if cursor else None


@contextmanager
def _own_cursor() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        field = FieldError("cursor", "is not one that this service gave", "invalid_cursor")
        raise Problem(422, "validation_failed", "The cursor is not valid.", errors=(field,)) from error
