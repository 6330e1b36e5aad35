"""What the OpenAPI document says of errors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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
    412: "The task is at another version; its ETag is in the answer.",
    429: "Too many requests: Retry-After says when to come again.",
    422: "A field is wrong; `errors` names it.",
}
_SCHEMA = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Give the `responses` of a route that may answer these errors."""
    inline = {name: value for name, value in _SCHEMA.items() if name != "$defs"}
    inline["properties"] = {
        **inline["properties"],
        "errors": {"type": "array", "items": _SCHEMA["$defs"]["ProblemField"]},
    }
    return {
        status: {"description": _MEANINGS[status], "content": {CONTENT_TYPE: {"schema": inline}}}
        for status in statuses
    }
