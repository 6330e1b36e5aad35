"""The own sidecar's HTTP API, through one persistent client.

SidecarError
├── SidecarUnavailable   not reached, timed out, or failed (5xx): it may or may not have been done
│   ├── SidecarAbsent    nothing listens there
│   └── BusAway          not sent, for the bus took nothing a moment ago
└── PublishRejected      refused (4xx): trying the same again is of no use
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from io import BytesIO
from time import perf_counter
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from event_contracts.topics import TOPICS
from service_kit import telemetry
from service_kit.bus_outage import Attempt, BusOutage, is_of_the_event, is_shut_out
from service_kit.logs import get_logger
from service_kit.metrics import SIDECAR_DURATION, SIDECAR_FAILURES
from service_kit.settings import ServiceSettings
from service_kit.sidecar_auth import TOKEN_HEADER

EVENT_CONTENT_TYPE = "application/cloudevents+json"
_AS_IT_IS = "text/plain"
_LEFT = "not sent: the bus is away"
TIMEOUT_SECONDS = 2.0
_CONNECTIONS = 64
_LARGE = 2**20
CONNECT_TIMEOUT_SECONDS = 1.0
PUBLISH_TIMEOUT_SECONDS = 12.0
"""Longer than the sidecar's own 10 s for publishing: giving up before it does says nothing about the event."""

_log = get_logger(__name__)


class SidecarError(Exception):
    """A call of the sidecar did not succeed."""


class SidecarUnavailable(SidecarError):
    """The sidecar, or what is behind it, was not reached, timed out or failed: it may or may not have been done."""


class SidecarAbsent(SidecarUnavailable):
    """Nobody took the connection."""


class BusAway(SidecarUnavailable):
    """Nothing was sent: the bus took nothing a moment ago, and one event at a time is tried until it does."""


class PublishRejected(SidecarError):
    """The sidecar refused the event or the topic."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sidecar, or who is behind it, answered. Names of `headers` are in lower case."""

    status_code: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status_code < 300

    @property
    def is_error(self) -> bool:
        """4xx or 5xx."""
        return self.status_code >= 400

    @property
    def is_server_error(self) -> bool:
        """5xx."""
        return self.status_code >= 500

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises orjson.JSONDecodeError, a ValueError."""
        return orjson.loads(self.content)


@dataclass(frozen=True)
class Outgoing:
    """One event to publish: `entry_id` names it in the result, `key` is its partition key, `event` its JSON."""

    entry_id: str
    key: str
    event: bytes


@dataclass(frozen=True)
class BulkResult:
    """Which entries the broker took, by entry id, and why it did not take the others. Of those in `unasked` it was not
    asked: their reasons say nothing of them."""

    accepted: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unasked: frozenset[str] = frozenset()

    @property
    def missed(self) -> set[str]:
        """The entries that speak against the broker: it was asked, and they are such as it takes."""
        return {
            entry_id
            for entry_id, reason in self.failed.items()
            if entry_id not in self.unasked and not is_of_the_event(reason)
        }


class Sidecar:
    """The sidecar beside this process. One instance per process; close it with `aclose()`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._pubsub = settings.pubsub_name
        self._address = f"http://{settings.dapr_runtime_host}:{settings.dapr_http_port}"
        self._token = settings.dapr_api_token.get_secret_value()
        self._session: aiohttp.ClientSession | None = None
        self._outages: dict[str, BusOutage] = {}

    def holds(self, topic: str) -> bool:
        """Whether a publish to this topic would raise BusAway now."""
        return self._outage_of(topic).holds

    async def publish(self, topic: str, event: bytes, key: str) -> None:
        """Publish one event, an encoded CloudEvent, to the partition of `key`.

        Raises PublishRejected when it will never be taken, SidecarUnavailable when it may or may not be out.
        """
        if self._outage_of(topic).is_on:
            self._choose(topic, [key])
        with self._attempt(topic) as attempt:
            attempt.failed = [key]
            answer = await self.request(
                "publish",
                "POST",
                f"/v1.0/publish/{quote(self._pubsub, safe='')}/{quote(topic, safe='')}",
                params={"metadata.partitionKey": key},
                content=event,
                headers={"content-type": EVENT_CONTENT_TYPE},
                timeout=PUBLISH_TIMEOUT_SECONDS,
            )
            if answer.is_error:
                raise PublishRejected(f"{topic}: {_reason(answer)}")
            attempt.taken, attempt.failed = True, ()

    async def publish_bulk(self, topic: str, entries: Sequence[Outgoing]) -> BulkResult:
        """Publish events in one request, each to the partition of its own key.

        The caller keeps the request small (500 events, 1 MiB): over 4 MiB the sidecar refuses all of it. While the bus
        is away one of them goes first, and the others if it gets through. Raises PublishRejected for the whole request,
        SidecarUnavailable when any of them may or may not be out.
        """
        if not entries:
            return BulkResult()
        if not self._outage_of(topic).is_on:
            return await self._publish_together(topic, entries)
        first = entries[self._choose(topic, [entry.key for entry in entries])]
        others = [entry for entry in entries if entry is not first]
        tried = await self._publish_together(topic, [first])
        if not (tried.accepted and others):
            left = {entry.entry_id: _LEFT for entry in others}
            return replace(tried, failed=tried.failed | left, unasked=tried.unasked.union(left))
        result = await self._publish_together(topic, others)
        return replace(result, accepted=tried.accepted + result.accepted)

    async def _publish_together(self, topic: str, entries: Sequence[Outgoing]) -> BulkResult:
        with self._attempt(topic) as attempt:
            result = await self._bulk(topic, entries)
            missed = result.missed
            attempt.taken = True if result.accepted else False if missed else None
            attempt.failed = [entry.key for entry in entries if entry.entry_id in missed]
            return result

    def _outage_of(self, topic: str) -> BusOutage:
        found = self._outages.get(topic)
        if found is None:
            partitions = TOPICS[topic].partitions if topic in TOPICS else 1
            found = self._outages[topic] = BusOutage(topic, partitions)
        return found

    def _choose(self, topic: str, keys: Sequence[str]) -> int:
        """Which one of the events with these keys may be tried. Raises BusAway when none may."""
        outage = self._outage_of(topic)
        chosen = None if outage.holds else outage.choose(keys)
        if chosen is None:
            raise BusAway(f"{topic}: the bus took nothing a moment ago")
        return chosen

    @contextmanager
    def _attempt(self, topic: str) -> Iterator[Attempt]:
        """An attempt to publish. What the sidecar answers for itself says nothing of the bus."""
        with self._outage_of(topic).attempt() as attempt:
            try:
                yield attempt
            except (PublishRejected, SidecarAbsent):
                attempt.taken = None
                raise
            except SidecarUnavailable as error:
                attempt.taken = None if is_shut_out(str(error)) or is_of_the_event(str(error)) else False
                raise

    async def _bulk(self, topic: str, entries: Sequence[Outgoing]) -> BulkResult:
        answer = await self.request(
            "publish_bulk",
            "POST",
            f"/v1.0/publish/bulk/{quote(self._pubsub, safe='')}/{quote(topic, safe='')}",
            params={"metadata.rawPayload": "true"},
            content=_bulk_body(entries),
            headers={"content-type": "application/json"},
            timeout=PUBLISH_TIMEOUT_SECONDS,
            partial=True,
        )
        if answer.is_success and answer.status_code != HTTPStatus.MULTI_STATUS:
            return BulkResult(accepted=[entry.entry_id for entry in entries])
        failed = _failed_entries(answer)
        if failed is None:
            raise PublishRejected(f"{topic}: {_reason(answer)}")
        SIDECAR_FAILURES.labels("publish_bulk", "entry").inc(len(failed))
        return BulkResult(
            accepted=[entry.entry_id for entry in entries if entry.entry_id not in failed],
            failed={entry.entry_id: failed[entry.entry_id] for entry in entries if entry.entry_id in failed},
            unasked=frozenset(entry_id for entry_id, reason in failed.items() if is_shut_out(reason)),
        )

    async def invoke(
        self,
        app_id: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109 - seconds for the HTTP client, which ends the request itself
    ) -> Answer:
        """Call `path` of another service. Gives its answer, 4xx included.

        Raises SidecarUnavailable when the service was not reached, timed out or answered 5xx.
        """
        headers = {"content-type": "application/json"} if json is not None else {}
        return await self.request(
            "invoke",
            method,
            f"/v1.0/invoke/{quote(app_id, safe='')}/method/{path.lstrip('/')}",
            params=params,
            content=None if json is None else orjson.dumps(json, default=str),
            headers=headers | _context_headers(),
            timeout=timeout,
        )

    async def healthy(self) -> bool:
        """Whether the sidecar and its components are up (not whether this service is)."""
        try:
            await self.check()
        except SidecarError:
            return False
        return True

    async def check(self) -> None:
        """Do nothing when the sidecar and its components are up, else raise SidecarUnavailable."""
        answer = await self.request("health", "GET", "/v1.0/healthz/outbound", timeout=0.5)
        if answer.is_error:
            raise SidecarUnavailable(_reason(answer))

    async def metadata(self) -> dict[str, Any]:
        """What the sidecar says of itself: components, subscriptions, app health."""
        answer = await self.request("metadata", "GET", "/v1.0/metadata")
        if answer.is_error:
            raise SidecarUnavailable(_reason(answer))
        body: dict[str, Any] = orjson.loads(answer.content)
        return body

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109 - as above
        partial: bool = False,
    ) -> Answer:
        """Send one request to the sidecar. `operation` labels the metrics; `partial` lets a 5xx pass that names the
        entries that failed. Raises SidecarUnavailable."""
        began = perf_counter()
        try:
            answer = await self._send(method, _target(path, params), content, headers or {}, timeout)
        except (aiohttp.ClientError, TimeoutError) as error:
            kind = "timeout" if isinstance(error, TimeoutError) else "unreachable"
            SIDECAR_FAILURES.labels(operation, kind).inc()
            is_absent = isinstance(error, aiohttp.ClientConnectorError)
            failure = SidecarAbsent if is_absent else SidecarUnavailable
            raise failure(f"{operation}: sidecar {kind} ({type(error).__name__})") from error
        finally:
            SIDECAR_DURATION.labels(operation).observe(perf_counter() - began)
        if answer.is_server_error and not (partial and _failed_entries(answer) is not None):
            SIDECAR_FAILURES.labels(operation, "failed").inc()
            raise SidecarUnavailable(f"{operation}: {_reason(answer)}")
        return answer

    async def _send(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Give the answer to one request, in so many seconds at most. Raises aiohttp.ClientError, TimeoutError."""
        if self._session is None:
            self._session = self._open()
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_TIMEOUT_SECONDS))
        url = URL(self._address + target, encoded=True)
        # In pieces when it is large, so that the event loop has its turn in between.
        body = BytesIO(content) if content is not None and len(content) > _LARGE else content
        async with self._session.request(
            method, url, data=body, headers=headers, timeout=limit, allow_redirects=False
        ) as answer:
            said = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, await answer.read(), said)

    def _open(self) -> aiohttp.ClientSession:
        # Made with the first request, for it belongs to the event loop that it is used in.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={TOKEN_HEADER: self._token},
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
        )


def _target(path: str, params: Mapping[str, str | int] | None) -> str:
    return f"{path}?{urlencode(params, quote_via=quote)}" if params else path


def _bulk_body(entries: Sequence[Outgoing]) -> bytes:
    # As text and with rawPayload, which leaves the events as the bytes they are: JSON would be decoded and encoded
    # twice in daprd, the larger part of its processor time. Consumers find the same CloudEvent on the bus.
    return orjson.dumps(
        [
            {
                "entryId": entry.entry_id,
                "event": entry.event.decode(),
                "contentType": _AS_IT_IS,
                "metadata": {"partitionKey": entry.key},
            }
            for entry in entries
        ]
    )


def _failed_entries(answer: Answer) -> dict[str, str] | None:
    """The entries that a bulk publish names as failed; None when the answer names none."""
    try:
        listed = orjson.loads(answer.content).get("failedEntries")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    if not listed:
        return None
    return {str(item["entryId"]): str(item.get("error", "")) for item in listed}


def _reason(answer: Answer) -> str:
    """The status and the sidecar's own error code and text, shortened."""
    return f"{answer.status_code} {answer.text[:300]}"


def _context_headers() -> dict[str, str]:
    found = {
        "traceparent": telemetry.current_traceparent(),
        "tracestate": telemetry.current_tracestate(),
        "x-request-id": telemetry.request_id(),
        "x-correlation-id": telemetry.correlation_id(),
    }
    return {name: value for name, value in found.items() if value is not None}
