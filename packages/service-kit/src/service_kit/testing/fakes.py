"""Stand-ins that keep to what the real ones do; the same behaviour suites run on both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson

from service_kit.due_index import (
    Claim,
    ClaimHandler,
    Lease,
    ShardOf,
    drain,
    shard_by_first_part,
    to_instant,
    to_score,
)
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer, BulkResult, Outgoing, Sidecar, SidecarUnavailable
from service_kit.sidecar_auth import TOKEN_HEADER
from service_kit.state_store import NO_EXPIRY, Replacement, StateConflict, StateWriteFailed, Stored


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        self.instant = start

    async def now(self) -> datetime:
        """The instant it was set to."""
        return self.instant

    def advance(self, step: timedelta) -> datetime:
        """Move on by `step`; the new instant."""
        self.instant += step
        return self.instant


@dataclass
class _Document:
    content: bytes
    version: int
    expires_at: datetime | None


class InMemoryStateStore:
    """The Dapr state store on Redis, as `StateStore` uses it: ETags count from 1, a create is a write with ETag 0.

    As there, a missing document takes any ETag on a write and a delete of it succeeds. `fail_next` makes the next call
    fail, with or without having done it.
    """

    def __init__(self, clock: ManualClock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._documents: dict[str, _Document] = {}
        self._failures: list[tuple[StateWriteFailed, bool]] = []
        self.writes = 0

    def fail_next(self, error: StateWriteFailed, *, landed: bool = False) -> None:
        """Let the next call raise `error`; with `landed` a write is carried out all the same."""
        self._failures.append((error, landed))

    def flush(self) -> None:
        """Lose everything, as Redis does after FLUSHALL: ETags start at 1 again."""
        self._documents.clear()

    @property
    def keys(self) -> list[str]:
        """The keys of the documents that are there."""
        return [key for key in list(self._documents) if self._find(key) is not None]

    def expires_at(self, key: str) -> datetime | None:
        """When the document goes by itself; None when it stays. Raises KeyError when there is none."""
        return self._documents[key].expires_at

    async def get(self, key: str) -> Stored | None:
        """The document, or None."""
        if self._failures:
            raise self._failures.pop(0)[0]
        found = self._find(key)
        return None if found is None else Stored(orjson.loads(found.content), str(found.version))

    async def get_many(self, keys: Iterable[str]) -> dict[str, Stored]:
        """The documents that exist, by key."""
        if self._failures:
            raise self._failures.pop(0)[0]
        found = {key: self._find(key) for key in keys}
        return {
            key: Stored(orjson.loads(document.content), str(document.version))
            for key, document in found.items()
            if document is not None
        }

    async def create(self, key: str, value: Mapping[str, Any], ttl_seconds: int = NO_EXPIRY) -> None:
        """Write a new document; StateConflict when there is one."""
        self._carry_out(lambda: self._write(key, value, "0", ttl_seconds))

    async def replace(
        self, key: str, value: Mapping[str, Any], etag: str, ttl_seconds: int = NO_EXPIRY
    ) -> None:
        """Write over the document that has `etag`; StateConflict when it has another."""
        self._carry_out(lambda: self._write(key, value, etag, ttl_seconds))

    async def replace_many(self, documents: Sequence[Replacement]) -> None:
        """Write each that still has its ETag; StateConflict afterwards when one had another."""
        self._carry_out(lambda: self._write_many(documents))

    async def delete(self, key: str, etag: str) -> None:
        """Remove the document that has `etag`; StateConflict when it has another."""
        self._carry_out(lambda: self._delete(key, etag))

    def _carry_out(self, change: Callable[[], None]) -> None:
        failure = self._failures.pop(0) if self._failures else None
        if failure is None:
            change()
            return
        if failure[1]:
            change()
        raise failure[0]

    def _write_many(self, documents: Sequence[Replacement]) -> None:
        conflicts: list[StateConflict] = []
        for one in documents:
            try:
                self._write(one.key, one.value, one.etag, one.ttl_seconds)
            except StateConflict as conflict:
                conflicts.append(conflict)
        if conflicts:
            raise conflicts[0]

    def _write(self, key: str, value: Mapping[str, Any], etag: str, ttl_seconds: int) -> None:
        found = self._find(key)
        if found is not None and str(found.version) != etag:
            raise StateConflict(f"{key}: has ETag {found.version}, not {etag}")
        expires = None if ttl_seconds < 0 else self._clock.instant + timedelta(seconds=ttl_seconds)
        version = 1 if found is None else found.version + 1
        self._documents[key] = _Document(orjson.dumps(value, default=str), version, expires)
        self.writes += 1

    def _delete(self, key: str, etag: str) -> None:
        found = self._find(key)
        if found is not None and str(found.version) != etag:
            raise StateConflict(f"{key}: has ETag {found.version}, not {etag}")
        self._documents.pop(key, None)

    def _find(self, key: str) -> _Document | None:
        found = self._documents.get(key)
        if found is not None and found.expires_at is not None and found.expires_at <= self._clock.instant:
            del self._documents[key]
            return None
        return found


@dataclass(frozen=True)
class Published:
    """One event that was published: its topic, its partition key and its JSON."""

    topic: str
    key: str
    event: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The event as an object."""
        decoded: dict[str, Any] = orjson.loads(self.event)
        return decoded

    @property
    def data(self) -> dict[str, Any]:
        """The event's data."""
        payload: dict[str, Any] = self.json["data"]
        return payload


class RecordingSidecar(Sidecar):
    """A sidecar that remembers what was published and answers invocations from `on_invoke`.

    `unavailable` makes every call raise SidecarUnavailable; `refuse` names entry ids or keys that a bulk publish
    reports as failed; `fail_next` lets the next publish raise, with or without the events being out.
    """

    def __init__(self) -> None:
        # Without a client: nothing here ever reaches the network.
        self.published: list[Published] = []
        self.invocations: list[tuple[str, str, str]] = []
        self.unavailable = False
        self.refuse: set[str] = set()
        self._answers: dict[tuple[str, str], Callable[..., Answer]] = {}
        self._failures: list[tuple[Exception, bool]] = []

    def holds(self, topic: str) -> bool:
        """Never: each call does as the test says."""
        return False

    def events(self, topic: str) -> list[dict[str, Any]]:
        """The events published to `topic`, as objects, in order."""
        return [one.json for one in self.published if one.topic == topic]

    def fail_next(self, error: Exception, *, landed: bool = False) -> None:
        """Let the next publish raise `error`; with `landed` its events are out all the same."""
        self._failures.append((error, landed))

    def on_invoke(
        self, app_id: str, path: str, status: int = 200, json: Any = None, *, content: bytes | None = None
    ) -> None:
        """Answer every invocation of `path` (without query) at `app_id` like this."""
        body = orjson.dumps(json, default=str) if content is None else content

        def answer() -> Answer:
            return Answer(status, body, {"content-type": "application/json"})

        self._answers[app_id, "/" + path.lstrip("/")] = answer

    async def publish(self, topic: str, event: bytes, key: str) -> None:
        """Remember one event."""
        await self.publish_bulk(topic, [Outgoing("1", key, event)])

    async def publish_bulk(self, topic: str, entries: Sequence[Outgoing]) -> BulkResult:
        """Remember the events that are not to be refused."""
        self._require_available()
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None and not failure[1]:
            raise failure[0]
        result = BulkResult()
        for entry in entries:
            if {entry.entry_id, entry.key} & self.refuse:
                result.failed[entry.entry_id] = "refused by the test"
            else:
                self.published.append(Published(topic, entry.key, entry.event))
                result.accepted.append(entry.entry_id)
        if failure is not None:
            raise failure[0]
        return result

    async def invoke(
        self,
        app_id: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        timeout: float = 2.0,  # noqa: ASYNC109 - the signature of the real one
    ) -> Answer:
        """Give the answer of `on_invoke`, else a 404."""
        self._require_available()
        self.invocations.append((app_id, method, "/" + path.lstrip("/")))
        found = self._answers.get((app_id, "/" + path.lstrip("/")))
        return Answer(404, b'{"error_code":"not_found"}') if found is None else found()

    async def check(self) -> None:
        """Raise SidecarUnavailable when it is set so."""
        self._require_available()

    async def metadata(self) -> dict[str, Any]:
        """An empty description."""
        self._require_available()
        return {}

    async def aclose(self) -> None:
        """Nothing to close."""

    async def request(self, operation: str, method: str, path: str, **_: Any) -> Answer:
        """Refuse: what goes past the methods above has no fake."""
        raise AssertionError(f"{operation} has no fake: {method} {path}")

    def _require_available(self) -> None:
        if self.unavailable:
            raise SidecarUnavailable("unavailable by the test's wish")


class AnsweringSidecar(Sidecar):
    """A sidecar that answers each request with what `answer` gives for it, or raises what that raises."""

    def __init__(self, settings: ServiceSettings, answer: Callable[[httpx.Request], Answer]) -> None:
        super().__init__(settings)
        self._answer = answer

    async def _send(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        sent = dict(headers) | {TOKEN_HEADER: self._token}
        return self._answer(httpx.Request(method, self._address + target, content=content, headers=sent))


class InMemoryDueIndex:
    """The due index without Redis; `clock` stands for Redis's own time."""

    def __init__(
        self, clock: ManualClock, *, shards: int = 4, lease: timedelta = timedelta(seconds=30)
    ) -> None:
        self._clock = clock
        self._shards: list[dict[str, int]] = [{} for _ in range(shards)]
        self._lease_ms = lease // timedelta(milliseconds=1)

    def flush(self) -> None:
        """Lose everything, as Redis at a FLUSHALL."""
        for shard in self._shards:
            shard.clear()

    async def add(self, members: Mapping[str, datetime], shard_of: ShardOf | None = None) -> int:
        """Note when each member is due; how many were new."""
        added = 0
        for member, due_at in members.items():
            count = len(self._shards)
            shard = shard_by_first_part(member, count) if shard_of is None else shard_of(member) % count
            if member not in self._shards[shard]:
                self._shards[shard][member] = to_score(due_at)
                added += 1
        return added

    async def missing(self, members: Collection[str]) -> set[str]:
        """Those of `members` that are not there."""
        count = len(self._shards)
        return {
            member for member in members if member not in self._shards[shard_by_first_part(member, count)]
        }

    async def claim(self, limit: int = 200) -> Claim:
        """Take at most `limit` of what is due, the earliest of each shard first."""
        now = self._now_ms()
        due = sorted(
            (score, member, shard)
            for shard, members in enumerate(self._shards)
            for member, score in members.items()
            if score <= now
        )
        leases = [Lease(member, shard, now + self._lease_ms) for _, member, shard in due[:limit]]
        for lease in leases:
            self._shards[lease.shard][lease.member] = lease.score_ms
        return Claim(to_instant(now), leases)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still its own."""
        return self._shards[lease.shard].get(lease.member) == lease.score_ms

    async def ack(self, lease: Lease) -> bool:
        """Remove what is done, while the lease is ours."""
        if not self.holds(lease):
            return False
        del self._shards[lease.shard][lease.member]
        return True

    async def ack_many(self, leases: Sequence[Lease]) -> list[bool]:
        """For each lease what `ack` says."""
        return [await self.ack(lease) for lease in leases]

    async def release(self, lease: Lease, until: datetime) -> bool:
        """Give the member back, while the lease is ours."""
        if not self.holds(lease):
            return False
        self._shards[lease.shard][lease.member] = to_score(until)
        return True

    async def next_due(self) -> datetime | None:
        """When the earliest member is due, or a lease runs out."""
        scores = [score for members in self._shards for score in members.values()]
        return to_instant(min(scores)) if scores else None

    async def depth(self) -> int:
        """How many members there are."""
        return sum(map(len, self._shards))

    async def sweep(self, handler: ClaimHandler, limit: int = 200) -> int:
        """Claim and hand over until nothing is due; how many were claimed."""
        return await drain(self.claim, handler, limit)

    def _now_ms(self) -> int:
        # Rounded down, as Redis's TIME is.
        return (self._clock.instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
