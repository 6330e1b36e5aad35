"""The calendar feed, and the secret that opens it."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from service_kit.auth import Principal
from task_api.application.calendar_feed import CalendarFeeds
from task_api.entrypoints.http.calendar_text import CONTENT_TYPE, calendar_text
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.conditional import IfChanged
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Answer
from task_api.entrypoints.http.origins import origin_of
from task_api.entrypoints.http.task_answers import json_answer

FEED = "/api/v1/calendar.ics"
_TOKEN = "/api/v1/calendar-token"  # noqa: S105 - a path
_EXAMPLE = {
    "token": "hV0bq1Zt0nq3mJ0tq4kFZ0l0yq9vQe6J2a1oT3xW8cE",
    "url": f"https://tasks.example.org{FEED}?token=hV0bq1Zt0nq3mJ0tq4kFZ0l0yq9vQe6J2a1oT3xW8cE",
}
_FEED_EXAMPLE = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Taskstream//Tasks//EN\r\nBEGIN:VTODO\r\n"
    "UID:0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a11\r\nDTSTAMP:20300501T080000Z\r\nSUMMARY:Water the plants\r\n"
    "DUE;VALUE=DATE:20300504\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
)
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The calendar (RFC 5545): one VTODO for each task.",
        "content": {"text/calendar": {"schema": {"type": "string"}, "example": _FEED_EXAMPLE}},
    },
    304: {"description": "Nothing has changed since the answer with this ETag."},
}


class CalendarTokenAnswer(Answer, json_schema_extra={"examples": [_EXAMPLE]}):
    """The secret, shown this once, and the address to subscribe to. Whoever has it reads the tasks."""

    token: str
    url: str


def calendar_routes(callers: Callers, feeds: CalendarFeeds) -> APIRouter:
    """Give the routes of the feed. Its secret is made and revoked by a session alone."""
    router = APIRouter(tags=["calendar"])
    Session = Annotated[Principal, Depends(callers.session)]  # noqa: N806 - a type

    @router.post(_TOKEN, status_code=201, response_model=CalendarTokenAnswer, responses=problems(401, 403))
    async def make(principal: Session, request: Request) -> Response:
        """Make the secret of the calendar feed, in the place of the one before."""
        token = await feeds.make(principal.user_id, origin_of(request))
        address = request.url.replace(path=FEED, query=f"token={token}", fragment="")
        answer = CalendarTokenAnswer(token=token, url=str(address))
        return json_answer(answer, 201, {"Cache-Control": "no-store"})

    @router.delete(_TOKEN, status_code=204, responses=problems(401, 403, 404))
    async def revoke(principal: Session, request: Request) -> Response:
        """Revoke the secret: the feed is gone at once."""
        await feeds.revoke(principal.user_id, origin_of(request))
        return Response(status_code=204)

    @router.get(FEED, response_class=Response, responses={**problems(404, 429), **_ANSWERS})
    async def feed(
        seen: IfChanged,
        token: Annotated[str, Query(description="The secret of POST /api/v1/calendar-token.")] = "",
    ) -> Response:
        """Open tasks that have a due, and those completed in the last 30 days, for calendar programs."""
        subscription = await feeds.open(token)
        since = await feeds.shown_since()
        # What falls out of the 30 days does so without a change: the day is part of what was seen.
        today = replace(seen, what=f"{since:%Y-%m-%d} {seen.what}")
        headers = today.of(subscription.user_id, subscription.changes)
        if headers["ETag"] in seen.tags:
            return Response(status_code=304, headers=headers)
        # The counter was read before the tasks: the ETag may name less than is shown, never more.
        items = await feeds.dated(subscription, since)
        return Response(
            calendar_text(items, subscription.day_start), media_type=CONTENT_TYPE, headers=headers
        )

    return router
