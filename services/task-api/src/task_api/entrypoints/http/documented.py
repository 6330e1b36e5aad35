"""What the OpenAPI document says of errors, and its examples.

Each example was an answer of this service once: `make examples` writes down what the tests were told.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from fastapi import FastAPI
from pydantic import BaseModel

from service_kit.problems import CONTENT_TYPE


class ProblemField(BaseModel):
    """One wrong field of a request."""

    field: str
    message: str
    code: str


class ProblemBody(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    error_code: str
    timestamp: datetime
    request_id: str | None
    errors: list[ProblemField]


_MEANINGS = {
    400: "The request cannot be read.",
    401: "The token or the password is not good.",
    403: "The caller is known, and may not do this.",
    404: "There is no such thing, for this user.",
    409: "It does not go together with how things are.",
    412: "It is at another version; its ETag is in the answer.",
    413: "The body is larger than this route takes.",
    414: "The address is too long.",
    415: "The body is encoded, or is not of a type that this route reads.",
    422: "A field is wrong; `errors` names it.",
    429: "Too many requests: Retry-After says when to come again.",
    431: "The headers are too large.",
    503: "It cannot be done at the moment; `error_code` says why.",
}
_ANYWHERE = (413, 414, 415, 429, 431, 503)
_PROBLEM = {"$ref": "#/components/schemas/ProblemBody"}
_EXAMPLES = "#/components/examples/"

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing has changed since the answer with this ETag."}
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Give the `responses` of a route that may answer these errors, besides those that any route may answer."""
    return {
        status: {"description": _MEANINGS[status], "content": {CONTENT_TYPE: {"schema": _PROBLEM}}}
        for status in sorted({*statuses, *_ANYWHERE})
    }


def install_document(app: FastAPI) -> None:
    """Let `app` describe problems once, and show examples."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_examples(plain())
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


@cache
def _recorded() -> dict[str, Any]:
    text = files("task_api.entrypoints.http").joinpath("examples.json").read_bytes()
    recorded: dict[str, Any] = orjson.loads(text)
    return recorded


def _with_examples(document: dict[str, Any]) -> dict[str, Any]:
    recorded = _recorded()
    components = document["components"]
    problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= problem.pop("$defs") | {"ProblemBody": problem}
    components["examples"] = {
        code: {"summary": body["detail"], "value": body} for code, body in recorded["problems"].items()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            # The framework's own form of it, where a route says nothing of fields: it is never answered.
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
            for status, response in operation["responses"].items():
                for kind, content in response.get("content", {}).items():
                    if kind == CONTENT_TYPE:
                        content["examples"] = _problems(recorded, f"{method.upper()} {path}", int(status))
                    elif f"{method.upper()} {path} {status}" in recorded["answers"]:
                        content["example"] = recorded["answers"][f"{method.upper()} {path} {status}"]
    return document


def _problems(recorded: dict[str, Any], operation: str, status: int) -> dict[str, dict[str, str]]:
    """The codes that the operation was seen to answer with; for a status that it never had, what any may answer."""
    known = recorded["problems"]
    seen = [code for code in recorded["codes"].get(operation, ()) if known[code]["status"] == status]
    codes = seen or [code for code in recorded["anywhere"] if known[code]["status"] == status]
    return {code: {"$ref": _EXAMPLES + code} for code in codes}
