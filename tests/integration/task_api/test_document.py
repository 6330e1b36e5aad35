"""The OpenAPI document shows an example of every answer, and each is what the document says it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

PROBLEM = "application/problem+json"
TASKS = "/api/v1/tasks"


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Operation, status, media type and description of every body that is answered."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                for kind, content in response.get("content", {}).items():
                    yield f"{method.upper()} {path}", status, kind, content


def validate(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


@pytest.fixture
def document(app: Any) -> dict[str, Any]:
    found: dict[str, Any] = app.openapi()
    return found


@pytest.mark.parametrize(
    ("status", "code", "request_of"),
    [
        (200, None, {"url": "/health"}),
        (200, None, {"url": "/health/live"}),
        (200, None, {"url": "/health/ready"}),
        (413, "body_too_large", {"json": {"title": "x" * 2**20}}),
        (414, "url_too_long", {"url": TASKS + "?" + "x" * 9000, "method": "GET"}),
        (415, "unsupported_media_type", {"content": "title=x", "headers": {"content-type": "text/plain"}}),
        (431, "headers_too_large", {"headers": {"x-much": "x" * 20_000}, "method": "GET"}),
    ],
)
async def test_what_any_call_may_be_answered(
    http: Any, ada: Any, status: int, code: str | None, request_of: dict[str, Any]
) -> None:
    headers = ada.headers | request_of.get("headers", {})
    method = "GET" if status == 200 else "POST"
    answer = await http.request(**{"method": method, "url": TASKS} | request_of | {"headers": headers})
    assert answer.status_code == status
    assert answer.json().get("error_code") == code


def test_every_answer_has_its_example(document: dict[str, Any]) -> None:
    lacking = []
    for operation, status, kind, content in bodies(document):
        examples = content.get("examples", {}) if kind == PROBLEM else content.get("example")
        if "json" in kind and not examples:
            lacking.append(f"{operation} {status}")
    assert lacking == [], "add a test that is answered so, then `make examples`"


def test_every_request_has_its_example(document: dict[str, Any]) -> None:
    lacking = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                schema = content["schema"]
                names = [one.get("$ref", "") for one in (schema, *schema.get("anyOf", ()))]
                known = [document["components"]["schemas"].get(name.split("/")[-1], schema) for name in names]
                if "json" in kind and not any(
                    {"example", "examples"} & one.keys() for one in (content, *known)
                ):
                    lacking.append(f"{method.upper()} {path}")
    assert lacking == []


def test_examples_are_what_the_document_says(document: dict[str, Any]) -> None:
    problems = document["components"]["examples"]
    for problem in problems.values():
        validate(document, {"$ref": "#/components/schemas/ProblemBody"}, problem["value"])
    for _, status, kind, content in bodies(document):
        if kind == PROBLEM:
            for code in content["examples"]:
                assert problems[code]["value"]["status"] == int(status)
        elif "example" in content:
            validate(document, content["schema"], content["example"])


def test_no_example_names_a_secret(document: dict[str, Any]) -> None:
    assert re.findall(r"eyJ\w{20,}|ts[kr]_[\w-]{20,}|whsec_[\w+/]{20,}", str(document)) == []
