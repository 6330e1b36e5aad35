"""Errors as the API tells them: RFC 9457 problem details, never a stack trace.

Problem                  what a handler raises: status, error code, sentence, fields
RequestValidationError   422 with the path of each wrong field; 400 when the body is no JSON
HTTPException            404, 405, 413 … of the framework
anything else            500, masked for the caller, logged with its traceback
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, cast

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from service_kit import telemetry
from service_kit.logs import get_logger

CONTENT_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:taskstream:problem:"
_PLACES = ("body", "query", "path", "header", "cookie")
_CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}
_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not answer that method.",
    413: "The body is larger than this service takes.",
    500: "Something went wrong here. It is logged under the request id.",
}
_log = get_logger(__name__)


@dataclass(frozen=True)
class FieldError:
    """One wrong field: its path in the request (`reminders.0.offset`), a sentence, and a code for programs."""

    field: str
    message: str
    code: str


class Problem(Exception):
    """An answer that is an error: `status` of HTTP, `error_code` for programs, `detail` a sentence for people.

    `members` are further members of the body (RFC 9457, 3.2), for what a client needs to go on.
    """

    def __init__(
        self,
        status: int,
        error_code: str,
        detail: str,
        title: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {error_code}: {detail}")
        self.status = status
        self.error_code = error_code
        self.detail = detail
        self.title = title or _phrase(status)
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def problem_body(problem: Problem) -> dict[str, Any]:
    """The members of RFC 9457, 3.1, and our own (3.2): error_code, timestamp, request_id, errors."""
    return {
        "type": _TYPE_PREFIX + problem.error_code,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "error_code": problem.error_code,
        "timestamp": datetime.now(UTC),
        "request_id": telemetry.request_id(),
        "errors": [asdict(error) for error in problem.errors],
        **problem.members,
    }


def problem_response(problem: Problem) -> Response:
    """The response that tells `problem`."""
    return Response(
        orjson.dumps(problem_body(problem), option=orjson.OPT_UTC_Z),
        status_code=problem.status,
        headers=problem.headers,
        media_type=CONTENT_TYPE,
    )


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Turn pydantic's errors into ours. The input is not repeated: it may hold a password."""
    return [
        FieldError(
            field=_field_path(error["loc"]),
            message=str(error["msg"]).removeprefix("Value error, "),
            code=str(error["type"]),
        )
        for error in errors
    ]


def unexpected_problem() -> Problem:
    """What the caller hears of an error that nobody expected."""
    return Problem(500, _CODES[500], _SENTENCES[500])


def install_problems(app: FastAPI) -> None:
    """Let `app` answer every error as a problem. May be called more than once."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_problem(request: Request, error: Exception) -> Response:
    return problem_response(cast("Problem", error))


async def _answer_validation(request: Request, error: Exception) -> Response:
    found = cast("RequestValidationError", error).errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem_response(Problem(400, "malformed_json", "The body is not valid JSON."))
    fields = field_errors(found)
    detail = (
        f"{fields[0].field}: {fields[0].message}" if len(fields) == 1 else f"{len(fields)} fields are wrong."
    )
    return problem_response(Problem(422, _CODES[422], detail, errors=fields))


async def _answer_http(request: Request, error: Exception) -> Response:
    failure = cast("HTTPException", error)
    status = failure.status_code
    if status < 400:
        return Response(status_code=status, headers=failure.headers)
    said = failure.detail if isinstance(failure.detail, str) and failure.detail != _phrase(status) else ""
    detail = said or _SENTENCES.get(status) or f"{_phrase(status)}."
    headers = dict(failure.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_here(request)))
    return problem_response(Problem(status, _code(status), detail, headers=headers))


def _methods_here(request: Request) -> set[str]:
    """Every method that this address answers: the framework names those of the first route alone."""
    found: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    log_unexpected(request.method, request.url.path, error)
    return problem_response(unexpected_problem())


def log_unexpected(method: str, path: str, error: BaseException) -> None:
    """Log an error that nobody expected, with its traceback."""
    _log.error("request_failed", method=method, path=path, exc_info=error)


def _field_path(location: Sequence[str | int]) -> str:
    parts = [str(part) for part in location]
    if parts and parts[0] in _PLACES:
        parts = parts[1:] or parts
    return ".".join(parts)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _code(status: int) -> str:
    words = _phrase(status).lower().replace("'", "").replace("-", " ").split()
    return _CODES.get(status) or "_".join(words)
