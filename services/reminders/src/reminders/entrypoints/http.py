"""What reminds me next, over HTTP. Whose reminders it is about comes from the verified token alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from reminders.application.show_upcoming import ScheduleNotThere, ShowUpcoming, UpcomingReminder
from reminders.domain.document import to_ms
from reminders.domain.member import Member
from service_kit.auth import Principal
from service_kit.problems import FieldError, Problem
from service_kit.state_store import StateUnavailable


class UpcomingBody(BaseModel):
    """One reminder that is to fire."""

    reminder_id: UUID
    task_id: UUID
    fire_at: datetime


class UpcomingPageBody(BaseModel):
    """The earliest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "reminder_id": "0197a1c0-7b2a-7c11-9f5e-2d6f5b0c4a11",
                            "task_id": "0197a1c0-7b2a-7c11-9f5e-2d6f5b0c4a10",
                            "fire_at": "2026-03-23T07:30:00Z",
                        }
                    ],
                    "next_cursor": None,
                    "has_next": False,
                }
            ]
        }
    )

    items: list[UpcomingBody]
    next_cursor: str | None
    has_next: bool


def router(upcoming: ShowUpcoming, principal: Callable[..., Awaitable[Principal]]) -> APIRouter:
    """The routes under /api/v1/reminders."""
    routes = APIRouter(prefix="/api/v1/reminders", tags=["Reminders"])
    caller = Depends(principal)

    async def list_upcoming(
        who: Principal = caller,
        cursor: Annotated[
            str | None, Query(max_length=100, description="`next_cursor` of the page before")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> UpcomingPageBody:
        """The caller's reminders that are to fire, the earliest first."""
        try:
            page = await upcoming.page(who.user_id, None if cursor is None else _position(cursor), limit)
        except (ScheduleNotThere, StateUnavailable):
            raise Problem(
                503,
                "schedule_unavailable",
                "The reminders cannot be read right now, or are being put together again.",
                headers={"Retry-After": "5"},
            ) from None
        following = _cursor(page.items[-1]) if page.more else None
        return UpcomingPageBody(
            items=[
                UpcomingBody(reminder_id=one.reminder_id, task_id=one.task_id, fire_at=one.fire_at)
                for one in page.items
            ],
            next_cursor=following,
            has_next=page.more,
        )

    routes.add_api_route("/upcoming", list_upcoming, methods=["GET"])
    return routes


def _cursor(last: UpcomingReminder) -> str:
    return str(Member(last.task_id, last.reminder_id, to_ms(last.fire_at)))


def _position(cursor: str) -> Member:
    try:
        return Member.parse(cursor)
    except ValueError as fault:
        error = FieldError("cursor", "give the next_cursor of the page before, unchanged", "invalid_cursor")
        raise Problem(
            422, "invalid_cursor", "The cursor is not one of this list.", errors=(error,)
        ) from fault
