"""Refuses everything that is for people while the emergency stop holds."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from service_kit.problems import Problem, problem_response
from task_api.application.lockdown import Lockdown
from task_api.domain.errors import StorageUnavailable
from task_api.entrypoints.http.problems import to_problem

_PEOPLES = ("/api/", "/internal/v1/actions")


class Closed:
    """Answers 503 to people, and to siblings who speak in their names; events, probes and reads go on."""

    def __init__(self, app: ASGIApp, lockdown: Lockdown) -> None:
        self._app = app
        self._lockdown = lockdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or go on."""
        if scope["type"] == "http" and scope["path"].startswith(_PEOPLES):
            try:
                if await self._lockdown.holds():
                    raise Problem(503, "locked_down", "The operator has closed this installation for now.")
            except Problem as refused:
                await problem_response(refused)(scope, receive, send)
                return
            except StorageUnavailable as error:
                await problem_response(to_problem(error))(scope, receive, send)
                return
        await self._app(scope, receive, send)
