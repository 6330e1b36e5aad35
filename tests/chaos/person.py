"""A person with a client of ordinary persistence: what got no answer is asked again until it gets one."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from tests.chaos.front import Front, NotSentError, UnansweredError, item_of
from tests.chaos.model import Model

Json = dict[str, Any]

PATIENCE_SECONDS = 120.0
_BUSY_CODES = frozenset({"concurrent_change"})


class GivenUpError(Exception):
    """No answer for as long as a person waits."""


@dataclass(frozen=True)
class Answer:
    """The answer that came at last; `doubtful` if an earlier attempt got none and may be done yet, or may have been."""

    status: int
    headers: Mapping[str, str]
    body: Json
    doubtful: bool


class Person:
    """A registered person. Safe to use by several tasks at once."""

    def __init__(self, model: Model, tasks: Front, notifications: Front, name: str, zone: str) -> None:
        self._model = model
        self._tasks = tasks
        self._notifications = notifications
        self._password = secrets.token_urlsafe(18)
        self._signing_in = asyncio.Lock()
        self._token = ""
        self.email = f"{name}-{secrets.token_hex(4)}@example.com"
        self.zone = zone
        self.user_id = ""

    async def register(self) -> None:
        body = {"email": self.email, "password": self._password, "timezone": self.zone}
        answer = await self._sent(self._tasks, "POST", "/api/v1/auth/register", body, {})
        if answer.status not in (201, 409):
            raise GivenUpError(f"register: {answer.status} {answer.body}")
        # 409: an attempt without an answer had made the account.
        await self._sign_in("")
        self.user_id = (await self.ask("GET", "/api/v1/users/me")).body["id"]
        self._model.emails[self.user_id] = self.email

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask task-api until there is an answer below 500. Raises GivenUpError."""
        return await self._signed_in(self._tasks, method, path, body, headers or {})

    async def inbox(self, pages: int = 1_000) -> list[Json]:
        """What notifier keeps for this person, newest first, `pages` of 100. Raises GivenUpError."""
        items = self._pages(self._notifications, "/api/v1/notifications", {"limit": "100"}, pages)
        return [item async for item in items]

    async def all_tasks(self, **filters: str) -> list[Json]:
        """Every task that a list shows with these filters. Raises GivenUpError."""
        return [item async for item in self._pages(self._tasks, "/api/v1/tasks", {"limit": "200", **filters})]

    async def activity(self, task_id: str) -> list[Json]:
        """The lines of a task, oldest first; empty for a task that is not there. Raises GivenUpError."""
        path = f"/api/v1/tasks/{task_id}/activity"
        return [item async for item in self._pages(self._tasks, path, {"limit": "200"})]

    async def _pages(
        self, front: Front, path: str, query: Mapping[str, str], pages: int = 1_000
    ) -> AsyncIterator[Json]:
        cursor: Json = {}
        for _ in range(pages):
            answer = await self._signed_in(front, "GET", f"{path}?{urlencode({**query, **cursor})}", None, {})
            if answer.status == 404:
                return
            if answer.status != 200:
                raise GivenUpError(f"{path}: {answer.status} {answer.body}")
            for item in answer.body["items"]:
                yield item
            if not answer.body.get("next_cursor"):
                return
            cursor = {"cursor": answer.body["next_cursor"]}

    async def _signed_in(
        self, front: Front, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> Answer:
        doubtful = False
        while True:
            token = self._token
            answer = await self._sent(
                front, method, path, body, {**headers, "Authorization": f"Bearer {token}"}
            )
            doubtful = doubtful or answer.doubtful
            if answer.status == 401:
                await self._sign_in(token)
            elif answer.status == 409 and answer.body.get("error_code") in _BUSY_CODES:
                await asyncio.sleep(0.1)
            else:
                return Answer(answer.status, answer.headers, answer.body, doubtful)

    async def _sign_in(self, refused: str) -> None:
        """Get a new token, unless somebody else has since the one that was refused."""
        async with self._signing_in:
            if self._token != refused:
                return
            body = {"email": self.email, "password": self._password}
            answer = await self._sent(self._tasks, "POST", "/api/v1/auth/login", body, {})
            if answer.status != 200:
                raise GivenUpError(f"login: {answer.status} {answer.body}")
            self._token = answer.body["access_token"]

    async def _sent(
        self, front: Front, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> Answer:
        """One request, again and again until it is answered."""
        doubtful, pause, until = False, 0.1, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = await front.send(method, path, body=body, headers=headers)
                return Answer(answer.status_code, answer.headers, _body(answer), doubtful)
            except NotSentError as error:
                failed: Exception = error
            except UnansweredError as error:
                failed, doubtful = error, True
            self._model.repeated += 1
            if time.monotonic() > until:
                raise GivenUpError(f"{method} {path}: {failed}") from failed
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(1.0, pause * 2)


def _body(answer: httpx.Response) -> Json:
    return item_of(answer) if answer.content else {}
