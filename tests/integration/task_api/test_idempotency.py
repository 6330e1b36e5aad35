"""Idempotency-Key: the same request again is not done again, and has the same answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

TASKS = "/api/v1/tasks"
BODY = {"title": "Water the plants", "tags": ["home"], "due_at": "2026-01-08T10:00:00Z"}


async def post(person: Any, key: str, body: Any, where: str = TASKS, expect: int | None = 201) -> Any:
    return await person.call("POST", where, expect, json=body, headers={"Idempotency-Key": key})


async def test_the_same_request_has_the_same_answer_and_makes_one_task(ada: Any) -> None:
    first = await post(ada, "k1", BODY)
    await ada.call("PATCH", f"{TASKS}/{first.json()['id']}", 200, json={"title": "Changed since"})
    again = await post(ada, "k1", BODY)
    assert again.content == first.content
    own = ("etag", "location", "x-undo-token", "content-type")
    assert {name: again.headers[name] for name in own} == {name: first.headers[name] for name in own}
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len((await ada.call("GET", TASKS, 200)).json()["items"]) == 1


@pytest.mark.parametrize("other", [{"title": "Another"}, {**BODY, "tags": []}])
async def test_another_request_under_the_key_is_refused(ada: Any, other: dict[str, Any]) -> None:
    await post(ada, "k1", BODY)
    refused = await post(ada, "k1", other, expect=409)
    assert refused.json()["error_code"] == "idempotency_key_reused"
    # The query belongs to the request.
    await post(ada, "k1", BODY, where=f"{TASKS}?allow_past=true", expect=409)


async def test_a_key_is_its_owners(ada: Any, bob: Any) -> None:
    one, other = await post(ada, "k1", BODY), await post(bob, "k1", {"title": "Bob's"})
    assert one.json()["id"] != other.json()["id"]


async def test_a_refused_request_leaves_the_key_free(ada: Any) -> None:
    await post(ada, "k1", {**BODY, "due_at": "2020-01-01T00:00:00Z"}, expect=422)
    await post(ada, "k1", BODY)


@pytest.mark.parametrize("key", ["", " ", "a b", "\xe4", "x" * 256])
async def test_a_key_that_is_none(ada: Any, key: str) -> None:
    answer = await ada.call("POST", TASKS, 422, json=BODY, headers={"Idempotency-Key": key.encode("latin-1")})
    assert "Idempotency-Key".lower() in answer.json()["errors"][0]["field"].lower()


async def test_sixty_four_at_once_make_one_task(ada: Any, rows: Any) -> None:
    answers = await asyncio.gather(*(post(ada, "k1", BODY) for _ in range(64)))
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    (told,) = await rows("SELECT count(*) AS tasks FROM tasks WHERE user_id = :id", id=ada.id)
    assert told == {"tasks": 1}
    (events,) = await rows(
        "SELECT count(*) AS events FROM outbox WHERE key = :id", id=answers[0].json()["id"]
    )
    assert events == {"events": 1}


async def test_many_tasks_under_one_key(ada: Any) -> None:
    body = {"tasks": [{"title": f"number {n}"} for n in range(3)]}
    first = await post(ada, "bulk", body, where=f"{TASKS}/bulk")
    again = await post(ada, "bulk", body, where=f"{TASKS}/bulk")
    assert again.content == first.content
    assert len((await ada.call("GET", TASKS, 200)).json()["items"]) == 3
