"""The inbox over HTTP. Whose inbox it is comes from the verified token alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict

from event_contracts.values import Channel
from notifier.application.errors import TaskApiUnavailable
from notifier.application.send_test import SendTest
from notifier.application.show_inbox import ShowInbox
from notifier.domain.inbox import Entry
from notifier.domain.notifications import Attempt
from service_kit import base64url
from service_kit.auth import Principal
from service_kit.problems import FieldError, Problem
from service_kit.rate_limits import Limit, RateLimiter

TESTS_PER_MINUTE = 6
"""A test posts to addresses that the caller named: enough to set one up, too little to bother others with."""

_POSITION = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)


class NotificationBody(BaseModel):
    """One entry of the inbox; a test is of no task.

    `due` is an RFC 3339 instant or YYYY-MM-DD; `cleared`: read by the task being done.
    """

    id: UUID
    task_id: UUID | None
    reminder_id: UUID | None
    title: str
    body: str
    due: str | None
    fire_at: datetime
    created_at: datetime
    read_at: datetime | None
    cleared: bool


class NotificationPage(BaseModel):
    """Newest first. `unread` counts the whole inbox, not this page."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "id": "5f1f9d6e-3a55-5a0b-bb0a-0f3d2ce1a777",
                            "task_id": "0197a1c0-7b2a-7c11-9f5e-2d6f5b0c4a10",
                            "reminder_id": "0197a1c0-7b2a-7c11-9f5e-2d6f5b0c4a11",
                            "title": "Water the plants",
                            "body": "Due on Monday, 23 March 2026 at 09:00 (Europe/Berlin).",
                            "due": "2026-03-23T08:00:00Z",
                            "fire_at": "2026-03-23T07:30:00Z",
                            "created_at": "2026-03-23T07:30:00.041Z",
                            "read_at": None,
                            "cleared": False,
                        }
                    ],
                    "next_cursor": None,
                    "has_next": False,
                    "unread": 1,
                }
            ]
        }
    )

    items: list[NotificationBody]
    next_cursor: str | None
    has_next: bool
    unread: int


class DeliveryBody(BaseModel):
    """One try. `destination_id` is that of the webhook, chat or browser in the person's preferences."""

    channel: Channel
    destination_id: UUID | None
    attempt: int
    at: datetime
    outcome: Literal["delivered", "failed", "cancelled", "to_be_repeated"]
    reason: str | None


class DeliveriesBody(BaseModel):
    """Every try, oldest first, for 30 days."""

    items: list[DeliveryBody]


class TestBody(BaseModel):
    """How one channel fared. `destination_id` is that of the webhook, chat or browser in the person's preferences."""

    __test__ = False  # no test class, whatever its name

    channel: Channel
    destination_id: UUID | None
    outcome: Literal["delivered", "failed"]
    reason: str | None


class TestsBody(BaseModel):
    """Each channel that is switched on, the inbox first."""

    __test__ = False

    items: list[TestBody]


class ReadAllBody(BaseModel):
    """How many were unread until now."""

    updated: int


def router(
    inbox: ShowInbox, test: SendTest, limiter: RateLimiter, principal: Callable[..., Awaitable[Principal]]
) -> APIRouter:
    """The routes under /api/v1/notifications."""
    routes = APIRouter(prefix="/api/v1/notifications", tags=["Notifications"])
    caller = Depends(principal)

    async def list_notifications(
        who: Principal = caller,
        cursor: Annotated[
            str | None, Query(max_length=100, description="`next_cursor` of the page before")
        ] = None,
        unread: Annotated[bool, Query(description="only what is unread")] = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> NotificationPage:
        """The caller's inbox, newest first."""
        page = await inbox.page(
            who.user_id,
            before=None if cursor is None else _position(cursor),
            limit=limit,
            unread_only=unread,
        )
        following = None if page.next_position is None else _cursor(page.next_position)
        return NotificationPage(
            items=[_body(entry) for entry in page.entries],
            next_cursor=following,
            has_next=following is not None,
            unread=page.unread,
        )

    async def read_all(who: Principal = caller) -> ReadAllBody:
        """Mark everything as read."""
        return ReadAllBody(updated=await inbox.mark_all_read(who.user_id))

    async def read_one(notification_id: UUID, who: Principal = caller) -> Response:
        """Mark one as read; repeating it changes nothing."""
        if not await inbox.mark_read(who.user_id, notification_id):
            raise Problem(404, "notification_not_found", "There is no such notification in your inbox.")
        return Response(status_code=204)

    async def deliveries(notification_id: UUID, who: Principal = caller) -> DeliveriesBody:
        """By which ways this notification was tried, and what came of it."""
        attempts = await inbox.attempts(who.user_id, notification_id)
        if not attempts:
            raise Problem(404, "notification_not_found", "There is no such notification in your inbox.")
        return DeliveriesBody(items=[_delivery(one) for one in attempts])

    async def send_test(who: Principal = caller) -> TestsBody:
        """Send a test message through each of the caller's channels, and wait for what comes of it: half a minute at
        most. Nothing is tried again."""
        await limiter.take([Limit("notification-test", str(who.user_id), TESTS_PER_MINUTE)])
        try:
            outcomes = await test.run(who.user_id)
        except TaskApiUnavailable as error:
            raise Problem(503, "unavailable", "Your channels cannot be looked up right now.") from error
        return TestsBody(
            items=[
                TestBody(
                    channel=one.channel,
                    destination_id=one.destination,
                    outcome="delivered" if one.reason is None else "failed",
                    reason=one.reason,
                )
                for one in outcomes
            ]
        )

    routes.add_api_route("/test", send_test, methods=["POST"])
    routes.add_api_route("", list_notifications, methods=["GET"])
    routes.add_api_route("/read-all", read_all, methods=["POST"])
    routes.add_api_route("/{notification_id}/read", read_one, methods=["POST"], status_code=204)
    routes.add_api_route("/{notification_id}/deliveries", deliveries, methods=["GET"])
    return routes


def _body(entry: Entry) -> NotificationBody:
    return NotificationBody(
        id=entry.notification_id,
        task_id=entry.task_id,
        reminder_id=entry.reminder_id,
        title=entry.title,
        body=entry.body,
        due=entry.due,
        fire_at=entry.fire_at,
        created_at=entry.created_at,
        read_at=entry.read_at,
        cleared=entry.cleared,
    )


def _delivery(attempt: Attempt) -> DeliveryBody:
    return DeliveryBody(
        channel=attempt.channel,
        destination_id=attempt.destination,
        attempt=attempt.number,
        at=attempt.at,
        outcome="to_be_repeated" if attempt.outcome is None else attempt.outcome.value,
        reason=attempt.reason,
    )


def _cursor(position: str) -> str:
    return base64url.written(position.encode())


def _position(cursor: str) -> str:
    try:
        position = base64url.read(cursor).decode("ascii")
    except ValueError:
        position = ""
    if not _POSITION.fullmatch(position):
        error = FieldError("cursor", "give the next_cursor of the page before, unchanged", "invalid_cursor")
        raise Problem(422, "invalid_cursor", "The cursor is not one of this list.", errors=(error,))
    return position
