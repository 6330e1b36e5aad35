"""The live stream over HTTP: Server-Sent Events (WHATWG HTML, 9.2). Whose it is comes from a token or ticket alone."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from notifier import metrics
from notifier.application.errors import (
    ListenersFull,
    LiveUnavailable,
    PersonListensEnough,
    TooManyListeners,
)
from notifier.application.follow_live import FollowLive
from notifier.application.listeners import Listener, Listeners
from notifier.application.live_ports import Tickets
from notifier.domain.live import End, Kind, LiveEvent
from service_kit.auth import Principal, invalid_token
from service_kit.problems import FieldError, Problem, problem_response

SEND_SECONDS = 20.0
"""For one batch. A client takes what it is sent in that time, or its stream is over."""
TICKET_SECONDS = 60
_POSITION = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_GREATEST = 2**64
_COME_BACK_MS = (1_000, 5_000)

PrincipalOf = Callable[[HTTPAuthorizationCredentials | None], Awaitable[Principal]]


class TicketBody(BaseModel):
    """Good once, for `expires_in` seconds. The stream ends when the token does with which the ticket was asked for."""

    ticket: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Streams:
    """What the routes stand on. `revoked` says whether the session of a ticket was ended since."""

    listeners: Listeners
    follow: FollowLive
    tickets: Tickets
    revoked: Callable[[Principal], Awaitable[bool]]


_DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events until the stream ends; `docs/notifier.md` says what is in each",
        "content": {
            "text/event-stream": {
                "example": "retry: 2310\n\n"
                "id: 1795254901234-0\nevent: ready\ndata: {}\n\n"
                'id: 1795254903456-0\nevent: task\ndata: {"id": "0197a1c0-7b2a-7c11-9f5e-2d6f5b0c4a10", "version": 4, '
                '"status": "completed", "title": "Water the plants", "changed": ["status"]}\n\n'
            }
        },
    }
}


def stream_router(streams: Streams, principal: PrincipalOf) -> APIRouter:
    """The routes under /api/v1/stream."""
    routes = APIRouter(prefix="/api/v1/stream", tags=["Live stream"])
    given = Depends(HTTPBearer(auto_error=False, description="Access token of POST /api/v1/auth/login"))

    async def by_token_or_ticket(
        credentials: HTTPAuthorizationCredentials | None = given,
        ticket: Annotated[
            str | None,
            Query(max_length=100, description="of POST /api/v1/stream/ticket, in place of a token"),
        ] = None,
    ) -> Principal:
        if ticket is None or credentials is not None:
            return await principal(credentials)
        try:
            who = await streams.tickets.redeem(ticket)
        except LiveUnavailable:
            raise _unavailable() from None
        if who is None:
            raise invalid_token("The ticket was used, has expired or never was: ask for a new one.")
        if await streams.revoked(who):
            raise invalid_token("The session of this ticket was ended.")
        return who

    caller = Depends(by_token_or_ticket)

    async def make_ticket(credentials: HTTPAuthorizationCredentials | None = given) -> TicketBody:
        """A ticket for `GET /api/v1/stream?ticket=…`, since a browser's EventSource sends no Authorization."""
        who = await principal(credentials)
        try:
            return TicketBody(ticket=await streams.tickets.issue(who), expires_in=TICKET_SECONDS)
        except LiveUnavailable:
            raise _unavailable() from None

    async def stream(
        who: Principal = caller,
        last_event_id: Annotated[
            str | None, Header(description="`id` of the last event seen: go on behind it")
        ] = None,
        resume: Annotated[
            str | None,
            Query(alias="last_event_id", description="the same, for a new EventSource, which cannot send it"),
        ] = None,
    ) -> Response:
        """The caller's task changes and notifications, as they happen."""
        # An empty id is what a browser has before the first event (WHATWG HTML, 9.2.6).
        said = [
            (place, value)
            for place, value in (("Last-Event-ID", last_event_id), ("last_event_id", resume))
            if value
        ]
        position = _position(*said[0]) if said else None
        return EventStream(streams, who, position)

    routes.add_api_route("/ticket", make_ticket, methods=["POST"], status_code=201)
    routes.add_api_route(
        "", stream, methods=["GET"], response_class=Response, responses=_DESCRIBED, response_model=None
    )
    return routes


class EventStream(Response):
    """Sends one listener's events until it is over, hangs up or stands still."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, who: Principal, position: str | None) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._streams = streams
        self._who = who
        self._position = position

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = self._who
        try:
            listener = self._streams.listeners.join(who.user_id, who.family_id, who.expires_at)
        except TooManyListeners as refused:
            await problem_response(_refusal(refused))(scope, receive, send)
            return
        hanging_up = asyncio.create_task(_hung_up(receive, listener))
        try:
            await self._tell(listener, send)
        except TimeoutError:
            # Nothing more can be said to it: the answer stays unfinished, and the server closes the connection.
            listener.end(End.SLOW)
        except BaseException:
            listener.end(End.FAILED)
            raise
        finally:
            hanging_up.cancel()
            self._streams.listeners.leave(listener)

    async def _tell(self, listener: Listener, send: Send) -> None:
        async def say(content: bytes, *, more: bool = True) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": content, "more_body": more})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # Each comes back at a time of its own, so that they do not all come at once.
        await say(b"retry: %d\n\n" % random.randint(*_COME_BACK_MS))  # noqa: S311 - spreads load, guards nothing
        batches: AsyncIterator[Sequence[LiveEvent]] = self._streams.follow.events(listener, self._position)
        async for batch in batches:
            await say(b"".join(map(_encoded, batch)) if batch else b":\n\n")
        await say(
            b'event: %b\ndata: {"reason": "%b"}\n\n' % (Kind.END.encode(), str(listener.ended).encode())
        )
        await say(b"", more=False)


async def _hung_up(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end(End.DISCONNECTED)


def _encoded(event: LiveEvent) -> bytes:
    return f"id: {event.position}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()


def _position(place: str, given: str) -> str:
    found = _POSITION.fullmatch(given)
    if found is None or any(int(part) >= _GREATEST for part in found.groups()):
        error = FieldError(place, "give the id of an event of this stream, unchanged", "invalid_event_id")
        raise Problem(422, "invalid_event_id", "The event id is not one of this stream.", errors=(error,))
    return given


def _unavailable() -> Problem:
    detail = "Tickets cannot be made or checked right now."
    return Problem(503, "stream_unavailable", detail, headers={"Retry-After": "1"})


def _refusal(refused: TooManyListeners) -> Problem:
    if isinstance(refused, PersonListensEnough):
        metrics.streams_refused.labels("person").inc()
        detail = "You have as many streams open as one person may have: close one first."
        return Problem(429, "too_many_streams", detail, headers={"Retry-After": "10"})
    full = isinstance(refused, ListenersFull)
    metrics.streams_refused.labels("process" if full else "leaving").inc()
    detail = "No further stream can be opened here right now." if full else "This process is about to go."
    return Problem(503, "no_room_for_streams", detail, headers={"Retry-After": "5"})
