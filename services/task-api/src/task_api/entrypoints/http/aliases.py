"""The paths of older clients, on the same handlers: the request goes on under the path that is ours.

/api/v1/todos…                   as /api/v1/tasks…, with `sort_by`, `todo_ids`, a date-time in `due_date`, several
                                 `tags` in one parameter, with commas between them, and `completed_at` beside `status`
/api/v1/users/{user_id}/tasks…   as /api/v1/tasks…, for that user alone: 403 for everybody else
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

OWNER_KEY = "task_api.alias_owner"
"""Where in the scope it stands whose tasks the path named."""

_TODOS = re.compile(r"/api/v1/todos(?=/|$)")
_OF_USER = re.compile(r"/api/v1/users/([^/]+)/tasks(?=/|$)")
_TASKS = "/api/v1/tasks"
_ADDRESS = ("path", "raw_path", "query_string")
_speaks_of_todos: ContextVar[bool] = ContextVar("speaks_of_todos", default=False)


def speaks_of_todos() -> bool:
    """Whether the request came by /api/v1/todos, whose clients write a few things differently."""
    return _speaks_of_todos.get()


class Aliases:
    """Leads older paths to the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on, under our path where the request came under an older one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = {name: scope[name] for name in _ADDRESS if name in scope}
        token = _speaks_of_todos.set(False)
        try:
            _translate(scope)
            await self._app(scope, receive, send)
        finally:
            _speaks_of_todos.reset(token)
            scope.update(asked)


def _translate(scope: Scope) -> None:
    """Change the scope itself: who measures and logs the request around us reads the route there that answered it. The
    address, which is for the log, is put back afterwards."""
    path = scope["path"]
    if found := _TODOS.match(path):
        _speaks_of_todos.set(True)
        scope["query_string"] = _query(scope["query_string"])
    elif found := _OF_USER.match(path):
        scope[OWNER_KEY] = found.group(1)
    else:
        return
    scope["path"] = _TASKS + path[found.end() :]
    scope["raw_path"] = scope["path"].encode()


def _query(query: bytes) -> bytes:
    named = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([ours for name, value in named for ours in _parameters(name, value)]).encode()


def _parameters(name: str, value: str) -> list[tuple[str, str]]:
    """Give what a parameter of the clients of /todos is called with us, as often as we ask for it."""
    if name == "sort_by":
        return [("sort", "due" if value == "due_date" else value)]
    if name == "tags":
        return [(name, tag) for tag in map(str.strip, value.split(",")) if tag]
    return [(name, value)]


def is_owner(named: str, user_id: UUID) -> bool:
    """Whether the user in the path is this one."""
    try:
        return UUID(named) == user_id
    except ValueError:
        return False
