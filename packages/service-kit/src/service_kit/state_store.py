"""Documents in the Dapr state store, always guarded by an ETag and always with a time to live.

    StateWriteFailed
    ├── StateConflict      409: another one wrote first; daprd says the same when Redis is away, so read again
    └── StateUnavailable   not reached, timed out or failed; a write may have landed all the same, so read again

A document is protected only when every write of it asks for first-write concurrency, so there is no way to write here
without it; a create is a write with the ETag "0". A time to live survives an overwrite, so each write says its own,
-1 for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from service_kit.metrics import STATE_CONFLICTS
from service_kit.sidecar import Answer, Sidecar, SidecarUnavailable

NO_EXPIRY = -1
NEW_DOCUMENT = "0"
"""The ETag of a write that makes a document: refused when there is one."""


class StateWriteFailed(Exception):
    """The state store did not do it, or did not say so."""


class StateConflict(StateWriteFailed):
    """Another writer was first, or Redis is away: read again."""


class StateUnavailable(StateWriteFailed):
    """The state store was not reached, timed out or failed."""


@dataclass(frozen=True)
class Stored:
    """A document and the ETag that a write on top of it has to name."""

    value: dict[str, Any]
    etag: str


@dataclass(frozen=True)
class Replacement:
    """A document to be written over the one that has `etag`, or as a new one with NEW_DOCUMENT."""

    key: str
    value: Mapping[str, Any]
    etag: str
    ttl_seconds: int = NO_EXPIRY


class DocumentStore(Protocol):
    """What the services need of a state store; `StateStore` and the in-memory one of the tests keep to it."""

    async def get(self, key: str) -> Stored | None:
        """The document, or None."""
        ...

    async def get_many(self, keys: Iterable[str]) -> dict[str, Stored]:
        """The documents that exist, by key."""
        ...

    async def create(self, key: str, value: Mapping[str, Any], ttl_seconds: int = NO_EXPIRY) -> None:
        """Write a new document; StateConflict when there is one."""
        ...

    async def replace(
        self, key: str, value: Mapping[str, Any], etag: str, ttl_seconds: int = NO_EXPIRY
    ) -> None:
        """Write over the document that has `etag`; StateConflict when it has another."""
        ...

    async def replace_many(self, documents: Sequence[Replacement]) -> None:
        """Write each like `replace`. Raises StateWriteFailed when one was not written; any of the others may be."""
        ...

    async def delete(self, key: str, etag: str) -> None:
        """Remove the document that has `etag`; StateConflict when it has another."""
        ...


class StateStore:
    """The state store component `name` behind the own sidecar. Keys are plain text; the app-id is put before them."""

    def __init__(self, sidecar: Sidecar, name: str) -> None:
        self._sidecar = sidecar
        self._path = f"/v1.0/state/{quote(name, safe='')}"

    async def get(self, key: str) -> Stored | None:
        """The document with its ETag, or None when there is none. Raises StateUnavailable."""
        answer = await self._request("state_get", "GET", self._key_path(key))
        if answer.status_code == HTTPStatus.NO_CONTENT or not answer.content:
            return None
        _require_success(answer)
        return Stored(_document(answer.content), answer.headers["etag"])

    async def get_many(self, keys: Iterable[str]) -> dict[str, Stored]:
        """The documents that exist, by key, in one request. Raises StateUnavailable when one of them failed."""
        wanted = list(keys)
        if not wanted:
            return {}
        answer = await self._request(
            "state_bulk", "POST", f"{self._path}/bulk", {"keys": wanted, "parallelism": 10}
        )
        _require_success(answer)
        found: dict[str, Stored] = {}
        for item in orjson.loads(answer.content):
            if item.get("error"):
                raise StateUnavailable(f"{item['key']}: {item['error']}")
            if item.get("data") is not None:
                found[item["key"]] = Stored(item["data"], item["etag"])
        return found

    async def create(self, key: str, value: Mapping[str, Any], ttl_seconds: int = NO_EXPIRY) -> None:
        """Write a document that does not exist yet. Raises StateConflict when it does, StateUnavailable."""
        await self._write(key, value, NEW_DOCUMENT, ttl_seconds)

    async def replace(
        self, key: str, value: Mapping[str, Any], etag: str, ttl_seconds: int = NO_EXPIRY
    ) -> None:
        """Write over the document that still has `etag`. Raises StateConflict when it changed, StateUnavailable."""
        await self._write(key, value, etag, ttl_seconds)

    async def delete(self, key: str, etag: str) -> None:
        """Remove the document that still has `etag`. Raises StateConflict when it changed, StateUnavailable."""
        answer = await self._request(
            "state_delete",
            "DELETE",
            f"{self._key_path(key)}?concurrency=first-write",
            headers={"if-match": etag},
        )
        _require_written(key, answer)

    async def replace_many(self, documents: Sequence[Replacement]) -> None:
        """Write each like `replace`, in one request that is not atomic: read them all again after a failure.

        Raises StateConflict or StateUnavailable when one was not written, or nobody knows.
        """
        if documents:
            answer = await self._request("state_write", "POST", self._path, list(map(_guarded, documents)))
            _require_written(f"{len(documents)} documents", answer)

    async def _write(self, key: str, value: Mapping[str, Any], etag: str, ttl_seconds: int) -> None:
        document = _guarded(Replacement(key, value, etag, ttl_seconds))
        _require_written(key, await self._request("state_write", "POST", self._path, [document]))

    async def _request(
        self,
        operation: str,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        try:
            return await self._sidecar.request(
                operation,
                method,
                path,
                content=None if body is None else orjson.dumps(body, default=str),
                headers={"content-type": "application/json"} | dict(headers or {}),
            )
        except SidecarUnavailable as error:
            if "etag mismatch" in str(error):
                STATE_CONFLICTS.inc()
                raise StateConflict(str(error)) from error
            raise StateUnavailable(str(error)) from error

    def _key_path(self, key: str) -> str:
        return f"{self._path}/{quote(key, safe='')}"


def _guarded(document: Replacement) -> dict[str, Any]:
    return {
        "key": document.key,
        "value": document.value,
        "etag": document.etag,
        "options": {"concurrency": "first-write"},
        "metadata": {"ttlInSeconds": str(document.ttl_seconds)},
    }


def _require_written(key: str, answer: Answer) -> None:
    if answer.status_code == HTTPStatus.CONFLICT:
        STATE_CONFLICTS.inc()
        raise StateConflict(f"{key}: {answer.text[:300]}")
    _require_success(answer)


def _require_success(answer: Answer) -> None:
    if not answer.is_success:
        raise StateUnavailable(f"{answer.status_code} {answer.text[:300]}")


def _document(content: bytes) -> dict[str, Any]:
    value = orjson.loads(content)
    if not isinstance(value, dict):
        raise StateUnavailable(f"a document is an object, found {type(value).__name__}")
    return value
