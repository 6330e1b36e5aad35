"""Errors as the API tells them: RFC 9457 problem details, never a stack trace.

Problem                  what a handler raises: status, error code, sentence, fields
RequestValidationError   422 with the path of each wrong field; 400 when the body is no JSON, 415 when it does not say
                         that it is; 405 when the address fits by its form alone (PATCH /tasks/search, /tasks/{id})
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
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service_kit import telemetry
from service_kit.logs import HIDDEN, get_logger, names_a_secret

CONTENT_TYPE = "application/problem+json"
_ERRORS_TOLD = 100
"""A list of a hundred thousand wrong items would be answered by more than was sent."""
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
    if any(item["loc"][0] == "path" for item in found) and request.method not in (
        here := _methods_here(request)
    ):
        return problem_response(_wrong_method(here))
    if not _says_json(request) and any(
        item["loc"] == ("body",) and item["type"] != "missing" for item in found
    ):
        return problem_response(_wrong_media_type())
    fields = field_errors(found[:_ERRORS_TOLD])
    if len(found) > _ERRORS_TOLD:
        detail = f"{len(found)} fields are wrong; the first {_ERRORS_TOLD} are named."
    elif len(found) > 1:
        detail = f"{len(found)} fields are wrong."
    else:
        detail = f"{fields[0].field}: {fields[0].message}"
    return problem_response(Problem(422, _CODES[422], detail, errors=fields))


async def _answer_http(request: Request, error: Exception) -> Response:
    failure = cast("HTTPException", error)
    status = failure.status_code
    if status < 400:
        return Response(status_code=status, headers=failure.headers)
    said = failure.detail if isinstance(failure.detail, str) and failure.detail != _phrase(status) else ""
    detail = said or _SENTENCES.get(status) or f"{_phrase(status)}."
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem_response(_wrong_method(_methods_here(request)))
    return problem_response(Problem(status, _code(status), detail, headers=failure.headers))


def _says_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _wrong_media_type() -> Problem:
    wrong = FieldError("content-type", "send application/json", _CODES[415])
    detail = "The body is JSON here: say so with Content-Type: application/json."
    return Problem(415, _CODES[415], detail, errors=[wrong], headers={"Accept": "application/json"})


def _wrong_method(here: Iterable[str]) -> Problem:
    return Problem(405, _CODES[405], _SENTENCES[405], headers={"Allow": ", ".join(sorted(here))})


def _methods_here(request: Request) -> set[str]:
    """Every method that this address answers: the framework names those of the first route alone.

    An address that a route names in full is not the address of a thing as well, though it may look like one.
    """
    path = request.scope["path"]
    named: set[str] = set()
    fitting: set[str] = set()
    for route in iter_route_contexts(request.app.router.routes):
        if route.methods and route.path_regex.match(path):
            (named if route.path == path else fitting).update(route.methods)
    return named or fitting


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    log_unexpected(request.scope, error)
    return problem_response(unexpected_problem())


def log_unexpected(scope: Scope, error: BaseException) -> None:
    """Log an error that nobody expected, with its traceback."""
    _log.error("request_failed", method=scope["method"], path=logged_path(scope), exc_info=error)


def logged_path(scope: Scope) -> str:
    """Give the path of a request as a log may have it: a token in it opens what it names to whoever reads it there."""
    path = str(scope["path"])
    for name, value in scope.get("path_params", {}).items():
        if names_a_secret(name) and value:
            path = path.replace(str(value), HIDDEN)
    return path


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
