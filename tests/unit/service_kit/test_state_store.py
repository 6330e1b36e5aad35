"""The state store over HTTP: what is sent, and what each answer means."""

from __future__ import annotations

from typing import Any

import aiohttp
import httpx
import orjson
import pytest

from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer
from service_kit.state_store import (
    Replacement,
    StateConflict,
    StateStore,
    StateUnavailable,
    StateWriteFailed,
    Stored,
)
from service_kit.testing.fakes import AnsweringSidecar


class Daprd:
    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answer = Answer(204)
        self.error: Exception | None = None

    def __call__(self, request: httpx.Request) -> Answer:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return self.answer

    @property
    def last(self) -> httpx.Request:
        return self.asked[-1]


@pytest.fixture
def daprd() -> Daprd:
    return Daprd()


@pytest.fixture
def store(settings: ServiceSettings, daprd: Daprd) -> StateStore:
    return StateStore(AnsweringSidecar(settings, daprd), "statestore")


def written(daprd: Daprd) -> dict[str, Any]:
    assert (daprd.last.method, daprd.last.url.path) == ("POST", "/v1.0/state/statestore")
    (document,) = orjson.loads(daprd.last.content)
    assert isinstance(document, dict)
    return document


async def test_a_create_is_a_first_write_with_etag_0_and_no_expiry(store: StateStore, daprd: Daprd) -> None:
    await store.create("task/1", {"version": 1})
    assert written(daprd) == {
        "key": "task/1",
        "value": {"version": 1},
        "etag": "0",
        "options": {"concurrency": "first-write"},
        "metadata": {"ttlInSeconds": "-1"},
    }


async def test_a_replace_names_its_etag_and_its_time_to_live(store: StateStore, daprd: Daprd) -> None:
    await store.replace("task-1", {}, "7", ttl_seconds=60)
    document = written(daprd)
    assert (document["etag"], document["metadata"]) == ("7", {"ttlInSeconds": "60"})
    assert document["options"] == {"concurrency": "first-write"}


async def test_a_delete_names_its_etag(store: StateStore, daprd: Daprd) -> None:
    await store.delete("a/b c|d", "7")
    assert daprd.last.url.raw_path == b"/v1.0/state/statestore/a%2Fb%20c%7Cd?concurrency=first-write"
    assert daprd.last.headers["if-match"] == "7"


async def test_a_document_is_its_value_and_etag(store: StateStore, daprd: Daprd) -> None:
    daprd.answer = Answer(200, content=b'{"version":3}', headers={"etag": "4"})
    assert await store.get("a/b") == Stored({"version": 3}, "4")
    assert daprd.last.url.raw_path == b"/v1.0/state/statestore/a%2Fb"


async def test_no_document_is_none(store: StateStore, daprd: Daprd) -> None:
    assert await store.get("a") is None


async def test_many_documents_are_one_request(store: StateStore, daprd: Daprd) -> None:
    found = [{"key": "a", "data": {"n": 1}, "etag": "2"}, {"key": "b"}]
    daprd.answer = Answer(200, content=orjson.dumps(found))
    assert await store.get_many(["a", "b"]) == {"a": Stored({"n": 1}, "2")}
    assert daprd.last.url.path == "/v1.0/state/statestore/bulk"
    assert orjson.loads(daprd.last.content)["keys"] == ["a", "b"]
    assert await store.get_many([]) == {}
    assert len(daprd.asked) == 1


async def test_one_document_that_failed_fails_all(store: StateStore, daprd: Daprd) -> None:
    daprd.answer = Answer(200, content=orjson.dumps([{"key": "a", "error": "redis is away"}]))
    with pytest.raises(StateUnavailable, match="redis is away"):
        await store.get_many(["a"])


async def attempt_all(store: StateStore, expected: type[StateWriteFailed]) -> None:
    writes = (
        store.create("a", {}),
        store.replace("a", {}, "1"),
        store.replace_many([Replacement("a", {}, "1")]),
        store.delete("a", "1"),
    )
    for write in writes:
        with pytest.raises(expected) as caught:
            await write
        assert type(caught.value) is expected


async def test_409_is_a_conflict(store: StateStore, daprd: Daprd) -> None:
    daprd.answer = Answer(409, b"ERR_STATE_SAVE: possible etag mismatch")
    await attempt_all(store, StateConflict)


async def test_a_500_that_speaks_of_etags_is_a_conflict(store: StateStore, daprd: Daprd) -> None:
    daprd.answer = Answer(500, b"ERR_STATE_SAVE: failed saving state: possible etag mismatch")
    await attempt_all(store, StateConflict)


@pytest.mark.parametrize("status", [400, 403, 500, 503])
async def test_other_failures_are_unavailable(store: StateStore, daprd: Daprd, status: int) -> None:
    daprd.answer = Answer(status, b"ERR_STATE_STORE_NOT_CONFIGURED")
    await attempt_all(store, StateUnavailable)
    with pytest.raises(StateUnavailable):
        await store.get("a")
    with pytest.raises(StateUnavailable):
        await store.get_many(["a"])


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError("gone"), TimeoutError("slow")])
async def test_no_answer_is_unavailable(store: StateStore, daprd: Daprd, error: Exception) -> None:
    daprd.error = error
    await attempt_all(store, StateUnavailable)


async def test_a_document_is_an_object(store: StateStore, daprd: Daprd) -> None:
    daprd.answer = Answer(200, content=b"[1]", headers={"etag": "4"})
    with pytest.raises(StateUnavailable, match="list"):
        await store.get("a")
