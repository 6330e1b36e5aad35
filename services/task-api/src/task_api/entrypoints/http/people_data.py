"""What is kept of the caller: all of it as one document, and its erasure."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from event_contracts.moments import written
from service_kit.auth import Principal
from service_kit.problems import Problem
from task_api.application.audit import Audit
from task_api.application.erase_account import EraseAccount
from task_api.application.ports import Now
from task_api.domain.errors import StorageUnavailable
from task_api.entrypoints.http.account_models import Password
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Body
from task_api.entrypoints.http.origins import origin_of

FORMAT = "taskstream-export"
FORMAT_VERSION = 1
IN_MEMORY_BYTES = 1024 * 1024
TURN_SECONDS = 10
"""How long an export waits for another person's to be read."""
_PIECE_BYTES = 64 * 1024

Document = SpooledTemporaryFile[bytes]


class Export(Protocol):
    """Reads everything that is kept of a person, or of that only what an import reads."""

    def sections(self, for_import: bool) -> tuple[str, ...]: ...

    def rows(self, user_id: UUID, for_import: bool) -> AsyncGenerator[tuple[str, bytes], None]: ...


class Exports:
    """Makes documents, in memory up to 1 MiB and beyond that in a file of the system's temporary directory.

    A document is whole before the answer begins, so that a database that goes away is a 503 and no broken 200, and a
    slow reader holds a file instead of a connection and its snapshot. In one process one document is made at a time
    and each person has one at a time: of the connections that requests share, exports take one.
    """

    def __init__(self, export: Export) -> None:
        self._export = export
        self._turn = asyncio.Lock()
        self._theirs: set[UUID] = set()

    async def answer(self, user_id: UUID, made_at: datetime, for_import: bool = False) -> Response:
        """Give the response that sends a person's document. Raises Problem 409 while they still read another one."""
        if user_id in self._theirs:
            raise Problem(
                409, "export_running", "Your last export is still being read: finish that one first."
            )
        self._theirs.add(user_id)
        document: Document = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - closed when it is sent
        try:
            await self._write(document, user_id, made_at, for_import)
        except BaseException:
            self._done(user_id, document)
            raise
        return _Sent(document, lambda: self._done(user_id, document))

    async def _write(self, document: Document, user_id: UUID, made_at: datetime, for_import: bool) -> None:
        try:
            await asyncio.wait_for(self._turn.acquire(), TURN_SECONDS)
        except TimeoutError:
            raise StorageUnavailable("other exports are being read") from None
        try:
            async with aclosing(_pieces(self._export, user_id, made_at, for_import)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(document.write, piece)
        finally:
            self._turn.release()

    def _done(self, user_id: UUID, document: Document) -> None:
        document.close()
        self._theirs.discard(user_id)


class _Sent(StreamingResponse):
    """Sends a document and then lets go of it, also when the client leaves before its first byte."""

    def __init__(self, document: Document, done: Callable[[], None]) -> None:
        self._done = done
        size = document.tell()
        document.seek(0)
        super().__init__(
            _read(document),
            media_type="application/json",
            headers={
                "Content-Disposition": 'attachment; filename="taskstream-export.json"',
                "Content-Length": str(size),
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


async def _read(document: Document) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(document.read, _PIECE_BYTES):
        yield piece


class ErasureBody(Body, json_schema_extra={"examples": [{"password": "correct horse battery staple"}]}):
    """The password, once more: this cannot be taken back."""

    password: Password


ForImport = Annotated[
    bool,
    Query(description="Only what an import reads: series, tasks and reminders, without what is not carried."),
]

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
    exports = Exports(export)
    Session = Annotated[Principal, Depends(callers.session)]  # noqa: N806 - a type

    @router.get(
        "/api/v1/users/me/export",
        response_class=StreamingResponse,
        responses={**problems(401, 403, 409, 422), **_DOCUMENT},
    )
    async def everything(principal: Session, request: Request, for_import: ForImport = False) -> Response:
        """Everything that is kept of the caller, as of one moment, deleted tasks included. One at a time."""
        await audit.note("export", origin_of(request), user_id=principal.user_id)
        return await exports.answer(principal.user_id, await now(), for_import)

    @router.delete(
        "/api/v1/users/me",
        status_code=202,
        response_class=Response,
        responses=problems(400, 401, 403, 422),
    )
    async def remove(body: ErasureBody, principal: Session, request: Request) -> Response:
        """Erase the account and everything that belongs to it, at every service. Nobody gets in from now on."""
        await erase.request(principal.user_id, body.password, origin_of(request))
        return Response(status_code=202)

    return router


async def _pieces(
    export: Export, user_id: UUID, at: datetime, for_import: bool
) -> AsyncGenerator[bytes, None]:
    """The text of the document, about 64 KiB at a time."""
    made = written(at)
    piece = bytearray(f'{{"format":"{FORMAT}","version":{FORMAT_VERSION},"made_at":"{made}"'.encode())
    rest = list(export.sections(for_import))
    current: str | None = None
    first = True
    async with aclosing(export.rows(user_id, for_import)) as rows:
        async for section, row in rows:
            while current != section:
                piece += (b"" if current is None else b"]") + f',"{rest[0]}":['.encode()
                current, first = rest.pop(0), True
            piece += row if first else b"," + row
            first = False
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
    if current is not None:
        piece += b"]"
    for section in rest:
        piece += f',"{section}":[]'.encode()
    yield bytes(piece) + b"}"
