"""Tasks from a file."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from service_kit.auth import Principal
from service_kit.http_middleware import BodyBound
from service_kit.problems import Problem
from task_api.application.import_tasks import Imported, import_tasks
from task_api.application.ports import Means
from task_api.domain.errors import AccountNotFound
from task_api.entrypoints.http.callers import Callers, actor_of
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import Answer
from task_api.entrypoints.http.import_calendar import read_calendar
from task_api.entrypoints.http.import_items import Reader, Reading, UnreadableFile
from task_api.entrypoints.http.import_json import read_export
from task_api.entrypoints.http.import_todoist import read_todoist
from task_api.entrypoints.http.task_answers import json_answer
from task_api.entrypoints.http.undo_tokens import UndoTokens

PATH = "/api/v1/import"
MAX_BYTES = 10 * 1024 * 1024
BOUND = BodyBound(
    MAX_BYTES, "An export with for_import=true holds only what an import reads, some 400 bytes a task."
)
READERS: dict[str, Reader] = {
    "application/json": read_export,
    "text/calendar": read_calendar,
    "text/csv": read_todoist,
}
_EXAMPLES: dict[str, Any] = {
    "application/json": {
        "format": "taskstream-export",
        "version": 1,
        "series": [],
        "tasks": [],
        "reminders": [],
    },
    "text/calendar": (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nBEGIN:VTODO\r\nUID:1\r\n"
        "DTSTAMP:20300501T080000Z\r\nSUMMARY:Water the plants\r\nDUE;VALUE=DATE:20300504\r\n"
        "END:VTODO\r\nEND:VCALENDAR\r\n"
    ),
    "text/csv": "TYPE,CONTENT,PRIORITY,DATE\ntask,Water the plants @home,4,every day at 9\n",
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string" if isinstance(one, str) else "object"}, "example": one}
            for kind, one in _EXAMPLES.items()
        },
    }
}
_ANSWER_EXAMPLE = {
    "imported": 41,
    "skipped": 2,
    "warnings": [{"item": "line 3", "message": "The date 'when it rains' is kept in the description."}],
    "failed": [
        {
            "item": "line 9",
            "field": "title",
            "message": "is too long",
            "code": "string_too_long",
        }
    ],
}


class ImportWarning(Answer):
    """What of an item could not be kept; its task is there."""

    item: str
    message: str


class ImportFailure(Answer):
    """Why an item is no task here."""

    item: str
    field: str
    message: str
    code: str


class ImportAnswer(Answer, json_schema_extra={"examples": [_ANSWER_EXAMPLE]}):
    """How many items are new tasks, how many were here already, and what was not taken as it was."""

    imported: int
    skipped: int
    warnings: tuple[ImportWarning, ...]
    failed: tuple[ImportFailure, ...]


def import_routes(callers: Callers, means: Means, undo: UndoTokens) -> APIRouter:
    """Give the route that imports."""
    router = APIRouter(tags=["tasks"])
    Writer = Annotated[Principal, Depends(callers.write)]  # noqa: N806 - a type
    # A large file takes seconds of a processor: one is read at a time, beside the requests.
    turn = asyncio.Lock()

    @router.post(
        PATH, response_model=ImportAnswer, responses=problems(400, 401, 403, 413, 415), openapi_extra=_BODY
    )
    async def bring(principal: Writer, request: Request) -> Response:
        """Import tasks from a file of up to 10 MiB; its Content-Type says what it is. Again: nothing is doubled.

        Up to 500 new tasks are taken back by one undo token, while they are as they came.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        reader = READERS.get(kind)
        if reader is None:
            raise Problem(415, "unsupported_media_type", f"An import is one of {', '.join(READERS)}.")
        body = await request.body()
        owner = await means.new_tasks.owner(principal.user_id)
        if owner is None:
            raise AccountNotFound("the account is gone")
        async with turn:
            try:
                reading = await asyncio.to_thread(reader, body, owner.timezone, await means.now())
            except UnreadableFile as error:
                raise Problem(400, "unreadable_file", f"The file cannot be read: {error}.") from error
        outcome = await import_tasks(means, actor_of(principal), principal.user_id, reading.drafts)
        return json_answer(
            _answer(reading, outcome), headers=undo.header(principal.user_id, outcome.change_id)
        )

    return router


def _answer(reading: Reading, outcome: Imported) -> ImportAnswer:
    failed = [
        ImportFailure(item=item, field=one.field, message=one.message, code=one.code)
        for item, one in reading.failed
    ]
    failed += [
        ImportFailure(item=draft.item, field=error.field, message=error.message, code=error.code)
        for draft, error in outcome.failed
    ]
    return ImportAnswer(
        imported=outcome.imported,
        skipped=outcome.skipped,
        warnings=tuple(ImportWarning(item=item, message=message) for item, message in reading.warnings),
        failed=tuple(failed),
    )
