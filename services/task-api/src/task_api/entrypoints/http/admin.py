"""What administrators may do: look at accounts, and open and close them; read the audit log."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import StrictBool

from service_kit.auth import Principal
from task_api.application.administration import Administration
from task_api.application.audit import Audit, AuditFilter
from task_api.application.ports import Order, Position, TaskFilter, TaskReader
from task_api.domain.errors import AccountUnknown
from task_api.entrypoints.http.account_models import ProfileAnswer
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.cursors import CURSOR_MAX, Cursors
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Answer, Body, Instant
from task_api.entrypoints.http.origins import origin_of
from task_api.entrypoints.http.task_answers import TaskAnswer, TaskPage, json_answer
from task_api.entrypoints.http.task_reading import PAGE_DEFAULT, PAGE_MAX

_ROOT = "/api/v1/admin"
_Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
_Cursor = Annotated[str | None, Query(max_length=CURSOR_MAX)]


class AdminUserAnswer(ProfileAnswer):
    """An account as administrators see it."""

    role: str
    disabled_at: datetime | None


class AdminUsersPage(Answer):
    """A page of accounts, the newest first."""

    items: tuple[AdminUserAnswer, ...]
    next_cursor: str | None
    has_next: bool


class AdminUserPatch(Body, json_schema_extra={"examples": [{"disabled": True}, {"role": "admin"}]}):
    """What is to change: a field that is absent stays. Either ends the account's sessions."""

    role: Literal["user", "admin"] | None = None
    disabled: StrictBool | None = None


class AuditAnswer(Answer):
    """One line of the audit log."""

    id: UUID
    at: datetime
    action: str
    succeeded: bool
    user_id: UUID | None
    address: str | None
    request_id: str | None
    detail: dict[str, Any]


class AuditPage(Answer):
    """A page of the audit log, the newest first."""

    items: tuple[AuditAnswer, ...]
    next_cursor: str | None
    has_next: bool


def admin_routes(
    callers: Callers,
    administration: Administration,
    reader: TaskReader,
    audit: Audit,
    cursors: Cursors,
    forget_keys: Callable[[], None],
) -> APIRouter:
    """Give the routes under /api/v1/admin. `forget_keys` lets API keys be asked for anew: their account may be shut."""
    router = APIRouter(tags=["admin"])
    Admin = Annotated[Principal, Depends(callers.admin)]  # noqa: N806 - a type

    @router.get(f"{_ROOT}/users", response_model=AdminUsersPage, responses=problems(401, 403, 422))
    async def users(
        _: Admin,
        email: Annotated[str | None, Query(max_length=254, description="A part of the address.")] = None,
        limit: _Limit = PAGE_DEFAULT,
        cursor: _Cursor = None,
    ) -> Response:
        """The accounts, the newest first."""
        where = f"admin-users:{email}"
        after = None if cursor is None else cursors.read(cursor, where)
        found = await administration.store.accounts(email, after, limit + 1)
        shown, more = found[:limit], len(found) > limit
        following = None
        if more:
            following = cursors.write(Position(shown[-1].account.created_at, shown[-1].account.id), where)
        items = tuple(_user(one.account, one.disabled_at) for one in shown)
        return json_answer(AdminUsersPage(items=items, next_cursor=following, has_next=more))

    @router.get(
        f"{_ROOT}/users/{{user_id}}", response_model=AdminUserAnswer, responses=problems(401, 403, 404, 422)
    )
    async def user(user_id: UUID, _: Admin) -> Response:
        """One account."""
        found = await administration.store.managed(user_id)
        if found is None:
            raise AccountUnknown("there is no such account")
        return json_answer(_user(found.account, found.disabled_at))

    @router.patch(
        f"{_ROOT}/users/{{user_id}}",
        response_model=AdminUserAnswer,
        responses=problems(400, 401, 403, 404, 409, 422),
    )
    async def change(user_id: UUID, body: AdminUserPatch, admin: Admin, request: Request) -> Response:
        """Change an account's role, or disable it; its sessions end. One that is being erased is not enabled again."""
        found = await administration.change(
            user_id,
            role=body.role,
            disabled=body.disabled,
            admin_id=admin.user_id,
            origin=origin_of(request),
        )
        forget_keys()
        return json_answer(_user(found.account, found.disabled_at))

    @router.get(
        f"{_ROOT}/users/{{user_id}}/tasks", response_model=TaskPage, responses=problems(401, 403, 404, 422)
    )
    async def tasks(
        user_id: UUID, admin: Admin, request: Request, limit: _Limit = PAGE_DEFAULT, cursor: _Cursor = None
    ) -> Response:
        """Somebody's tasks, the newest first. Looking is noted in the audit log."""
        if await administration.store.managed(user_id) is None:
            raise AccountUnknown("there is no such account")
        where = f"admin-tasks:{user_id}"
        after = None if cursor is None else cursors.read(cursor, where)
        found = await reader.page(user_id, TaskFilter(), Order(), after, limit + 1)
        await audit.note(
            "tasks_read_by_admin", origin_of(request), user_id=user_id, detail={"admin": str(admin.user_id)}
        )
        more = len(found.tasks) > limit
        body = TaskPage(
            items=tuple(TaskAnswer.of(view) for view in found.tasks[:limit]),
            next_cursor=cursors.write(found.positions[limit - 1], where) if more else None,
            has_next=more,
        )
        return json_answer(body)

    @router.get(f"{_ROOT}/audit", response_model=AuditPage, responses=problems(401, 403, 422))
    async def lines(
        _: Admin,
        user_id: UUID | None = None,
        action: Annotated[str | None, Query(max_length=50)] = None,
        succeeded: bool | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        limit: _Limit = PAGE_DEFAULT,
        cursor: _Cursor = None,
    ) -> Response:
        """The audit log: who came in, who was refused, who changed what of an account.

        What became of tasks is in their history, with the actor of each change.
        """
        wanted = AuditFilter(user_id, action, succeeded, since, until)
        where = f"audit:{wanted}"
        after = None if cursor is None else cursors.read(cursor, where)
        found = await audit.store.page(wanted, after, limit + 1)
        shown, more = found[:limit], len(found) > limit
        following = cursors.write(Position(shown[-1].at, shown[-1].id), where) if more else None
        items = tuple(
            AuditAnswer(
                id=line.id,
                at=line.at,
                action=line.action,
                succeeded=line.succeeded,
                user_id=line.user_id,
                address=line.origin.address,
                request_id=line.origin.request_id,
                detail=dict(line.detail),
            )
            for line in shown
        )
        return json_answer(AuditPage(items=items, next_cursor=following, has_next=more))

    return router


def _user(account: Any, disabled_at: datetime | None) -> AdminUserAnswer:
    profile = ProfileAnswer.of(account).model_dump()
    return AdminUserAnswer(**profile, role=account.role, disabled_at=disabled_at)
