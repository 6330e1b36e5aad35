"""What is kept of the caller: all of it as one document, and its erasure."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from service_kit.auth import Principal
from task_api.application.audit import Audit
from task_api.application.erase_account import EraseAccount
from task_api.application.ports import Now
from task_api.entrypoints.http.account_models import Password
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Body
from task_api.entrypoints.http.origins import origin_of

FORMAT = "taskstream-export"
FORMAT_VERSION = 1


class Export(Protocol):
    """Reads everything that is kept of a person."""

    @property
    def sections(self) -> tuple[str, ...]: ...

    def rows(self, user_id: UUID) -> AsyncIterator[tuple[str, str]]: ...


class ErasureBody(Body, json_schema_extra={"examples": [{"password": "correct horse battery staple"}]}):
    """The password, once more: this cannot be taken back."""

    password: Password


_DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The document: its format, when it was made, and a list for each kind of thing that is kept.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def people_data_routes(
    callers: Callers, export: Export, erase: EraseAccount, audit: Audit, now: Now
) -> APIRouter:
    """Give the routes of a person's data."""
    router = APIRouter(tags=["users"])
    Session = Annotated[Principal, Depends(callers.session)]  # noqa: N806 - a type

    @router.get(
        "/api/v1/users/me/export",
        response_class=StreamingResponse,
        responses={**problems(401, 403), **_DOCUMENT},
    )
    async def everything(principal: Session, request: Request) -> Response:
        """Everything that is kept of the caller, as of one moment, deleted tasks included."""
        await audit.note("export", origin_of(request), user_id=principal.user_id)
        return StreamingResponse(
            _document(export, principal.user_id, await now()),
            media_type="application/json",
            headers={"Content-Disposition": 'attachment; filename="taskstream-export.json"'},
        )

    @router.delete("/api/v1/users/me", status_code=202, responses=problems(400, 401, 403, 422))
    async def remove(body: ErasureBody, principal: Session, request: Request) -> Response:
        """Erase the account and everything that belongs to it, at every service. Nobody gets in from now on."""
        await erase.request(principal.user_id, body.password)
        # Without the address: the account may be gone already, and with it what blanks the log's other lines.
        origin = replace(origin_of(request), address=None)
        await audit.note("erasure", origin, user_id=principal.user_id)
        return Response(status_code=202)

    return router


async def _document(export: Export, user_id: UUID, at: datetime) -> AsyncIterator[str]:
    made = at.isoformat().replace("+00:00", "Z")
    yield f'{{"format":"{FORMAT}","version":{FORMAT_VERSION},"made_at":"{made}"'
    rest = list(export.sections)
    current: str | None = None
    first = True
    async for section, row in export.rows(user_id):
        while current != section:
            yield ("" if current is None else "]") + f',"{rest[0]}":['
            current, first = rest.pop(0), True
        yield row if first else f",{row}"
        first = False
    if current is not None:
        yield "]"
    for section in rest:
        yield f',"{section}":[]'
    yield "}"
