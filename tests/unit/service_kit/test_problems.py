"""Errors are told as RFC 9457 problems."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, field_validator

from service_kit.problems import CONTENT_TYPE, FieldError, Problem, install_problems


class Reminder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    offset: int


class Task(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    reminders: list[Reminder] = []

    @field_validator("title")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a title has letters")
        return value


@pytest.fixture(autouse=True)
def routes(app: FastAPI) -> None:
    @app.post("/tasks")
    async def create(task: Task, limit: int = Query(default=50, le=200)) -> str:
        return task.title

    @app.post("/password")
    async def password(secret: int = Body(embed=True)) -> int:
        return secret

    @app.get("/taken")
    async def taken() -> None:
        raise Problem(
            409,
            "email_taken",
            "This address is registered already.",
            errors=[FieldError("email", "is taken", "taken")],
            headers={"Retry-After": "3"},
        )

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418)

    things = APIRouter()

    @things.get("/things/search")
    async def search() -> None: ...

    @things.patch("/things/{number}")
    async def change(number: int) -> int:
        return number

    @things.delete("/things/{number}")
    async def remove(number: int) -> int:
        return number

    app.include_router(things)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")


async def test_a_problem_has_exactly_the_members_of_the_api(client: httpx.AsyncClient) -> None:
    answer = await client.get("/taken", headers={"X-Request-ID": "r-1"})
    body = answer.json()
    assert answer.status_code == 409
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.headers["retry-after"] == "3"
    told = datetime.fromisoformat(body.pop("timestamp"))
    assert abs((datetime.now(UTC) - told).total_seconds()) < 5
    assert body == {
        "type": "urn:taskstream:problem:email_taken",
        "title": "Conflict",
        "status": 409,
        "detail": "This address is registered already.",
        "error_code": "email_taken",
        "request_id": "r-1",
        "errors": [{"field": "email", "message": "is taken", "code": "taken"}],
    }


async def test_wrong_fields_are_named_by_their_path(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/tasks?limit=900",
        json={"title": " ", "reminders": [{"offset": 1}, {"offset": "soon"}], "colour": "red"},
    )
    assert answer.status_code == 422
    errors = {error["field"]: (error["code"], error["message"]) for error in answer.json()["errors"]}
    assert errors["title"] == ("value_error", "a title has letters")
    assert errors["reminders.1.offset"][0] == "int_parsing"
    assert errors["colour"][0] == "extra_forbidden"
    assert errors["limit"][0] == "less_than_equal"
    assert answer.json()["error_code"] == "invalid_request"


async def test_one_wrong_field_is_the_detail(client: httpx.AsyncClient) -> None:
    answer = await client.post("/tasks", json={})
    assert answer.json()["detail"] == "title: Field required"


async def test_a_missing_body_is_the_body(client: httpx.AsyncClient) -> None:
    answer = await client.post("/tasks")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["body"]


async def test_what_was_sent_is_not_repeated(client: httpx.AsyncClient) -> None:
    answer = await client.post("/password", json={"secret": "correct-horse"})
    assert answer.status_code == 422
    assert "correct-horse" not in answer.text


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"title": }', b"[" * 100_000])
async def test_what_is_no_json_is_a_bad_request(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/tasks", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == CONTENT_TYPE


async def test_unknown_addresses_and_methods(client: httpx.AsyncClient) -> None:
    nowhere, wrong = await client.get("/nowhere"), await client.delete("/taken")
    assert (nowhere.status_code, nowhere.json()["error_code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error_code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET"
    assert "nothing at this address" in nowhere.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PUT", "/things/1", 405, "DELETE, PATCH"),
        ("POST", "/things/search", 405, "GET"),
        ("PATCH", "/things/search", 405, "GET"),
        ("PATCH", "/things/one", 422, None),
        ("PATCH", "/things/1", 200, None),
    ],
)
async def test_a_refused_method_is_told_which_ones_are_not(
    client: httpx.AsyncClient, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)


async def test_a_status_without_words_of_ours(client: httpx.AsyncClient) -> None:
    body = (await client.get("/teapot")).json()
    assert (body["status"], body["error_code"], body["title"]) == (418, "im_a_teapot", "I'm a Teapot")


async def test_the_unexpected_is_masked_and_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["error_code"] == "internal_error"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert "request_failed method=GET path=/broken" in logged[0].getMessage()
    assert "hunter2" in str(logged[0].exc_info[1])  # type: ignore[index]


async def test_without_the_http_around_it_the_unexpected_is_masked_too() -> None:
    bare = FastAPI()
    install_problems(bare)

    @bare.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    transport = httpx.ASGITransport(bare, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as caller:
        answer = await caller.get("/broken")
    assert (answer.status_code, answer.json()["request_id"]) == (500, None)
    assert "hunter2" not in answer.text
