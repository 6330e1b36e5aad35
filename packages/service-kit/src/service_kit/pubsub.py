"""Events from the bus: daprd posts each one to `/events/<topic>`, the answer says what becomes of it.

SUCCESS: done. RETRY: again after a while, and to the dead-letter topic when the tries of the policy are used up. What
fails by passing trouble is first tried again right here, so that the tries last until deliveries stop.
DROP: to the dead-letter topic at once; only for what does not parse, since an outage is not poison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import orjson
from dapr.ext.fastapi import DaprApp
from fastapi import APIRouter, Depends, FastAPI
from pydantic import ValidationError
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from event_contracts.envelope import CloudEvent
from event_contracts.topics import TOPICS, Topic, dead_letter_topic
from service_kit import telemetry
from service_kit.deliveries import deliveries_are_on
from service_kit.http_app import mark_quiet
from service_kit.logs import get_logger
from service_kit.metrics import EVENT_AGE, EVENT_HANDLING, EVENTS_HANDLED
from service_kit.settings import ServiceSettings
from service_kit.sidecar import SidecarError
from service_kit.sidecar_auth import require_own_sidecar
from service_kit.state_store import StateWriteFailed

_log = get_logger(__name__)

_PASSING_TROUBLE = (StateWriteFailed, SidecarError, RedisError, TimeoutError, ConnectionError)
"""Known to go away by itself, so it is worth a line and no traceback."""
AT_ONCE = 16
"""Deliveries that are worked on at the same time. A sidecar hands over one of each partition of each topic; were all of
them begun, a busy processor would end none within the time that a delivery has, and then they all come again."""

GIVEN_UP_AFTER_SECONDS = 2.5
"""Less than the sidecar waits for an answer (components/resiliency.yaml): what took longer is about to come again."""
_KEPT_SECONDS = 5.0
TRIED_FOR_SECONDS = 2.0
"""How long what fails by passing trouble is held while deliveries are on, below what the sidecar waits for."""
_AGAIN_AFTER_SECONDS = 1.0


class Outcome(StrEnum):
    """What daprd shall do with a delivery."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    DROP = "DROP"


EventHandler = Callable[[CloudEvent[Any]], Awaitable[Outcome]]


class _Ended(NamedTuple):
    """How a piece of work ended, and whether to try it again soon is of use."""

    outcome: Outcome
    may_pass: bool


def subscribe(app: FastAPI, settings: ServiceSettings, handlers: Mapping[str, EventHandler]) -> DaprApp:
    """Subscribe to each topic of `handlers` (names of the registry) with POST /events/<topic>.

    Serves /dapr/subscribe too, which daprd asks once at start; both answer the own sidecar only, before anything of
    the body is read. What cannot be handled in the end goes to `<service>-dlq`. Raises KeyError for a topic that the
    registry does not know.
    """
    router = APIRouter(dependencies=[Depends(require_own_sidecar(settings))], include_in_schema=False)
    under_way = _UnderWay()
    # It only ever calls add_api_route, which a router has too, and the router carries the token check.
    dapr_app = DaprApp(router)  # type: ignore[arg-type]
    for name, handler in handlers.items():
        register = dapr_app.subscribe(
            settings.pubsub_name,
            name,
            metadata={},
            route=f"/events/{name}",
            dead_letter_topic=dead_letter_topic(settings.service_name),
        )
        register(_receiver(TOPICS[name], handler, under_way))
    app.include_router(router)
    return dapr_app


class _UnderWay:
    """Deliveries that are worked on, and those that wait for their turn, by topic and event.

    A sidecar gives a delivery up after some seconds and makes it again while the first is still at it. The second one
    gets the outcome of the first: to begin anew would cost its place, and the two would be in each other's way.
    """

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._works: dict[tuple[str, str], asyncio.Task[_Ended]] = {}

    async def end_of(self, topic: Topic, event_id: str, work: Callable[[], Awaitable[_Ended]]) -> _Ended:
        """What became of this event: of the work that is under way, or was given up a moment ago, else of `work`."""
        key = topic.name, event_id
        if (running := self._works.get(key)) is None:
            running = self._works[key] = asyncio.create_task(self._in_turn(key, work))
        return await asyncio.shield(running)

    async def _in_turn(self, key: tuple[str, str], work: Callable[[], Awaitable[_Ended]]) -> _Ended:
        came, kept = perf_counter(), False
        try:
            async with self._room:
                ended = await work()
            kept = ended.outcome is Outcome.SUCCESS and perf_counter() - came > GIVEN_UP_AFTER_SECONDS
            return ended
        finally:
            if kept:
                asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._works.pop, key, None)
            else:
                del self._works[key]


def _receiver(
    topic: Topic, handler: EventHandler, under_way: _UnderWay
) -> Callable[[Request], Awaitable[Response]]:
    async def receive(request: Request) -> Response:
        # Its line is that of the event, which tells the trace and the correlation id that the event carries.
        mark_quiet(request)
        body = await request.body()
        began = perf_counter()
        event = _parse(topic, body)
        if event is None:
            outcome = Outcome.DROP
            EVENT_HANDLING.labels(topic.name).observe(perf_counter() - began)
        else:
            work = partial(_handle, topic, handler, event)
            ended = await under_way.end_of(topic, event.id, work)
            while ended.outcome is Outcome.RETRY and ended.may_pass and deliveries_are_on(request.app):
                if (left := began + TRIED_FOR_SECONDS - perf_counter()) <= 0:
                    break
                await asyncio.sleep(min(_AGAIN_AFTER_SECONDS, left))
                ended = await under_way.end_of(topic, event.id, work)
            outcome = ended.outcome
        EVENTS_HANDLED.labels(topic.name, outcome.value).inc()
        return Response(orjson.dumps({"status": outcome.value}), media_type="application/json")

    receive.__name__ = f"receive_{topic.name.replace('-', '_')}"
    return receive


def _parse(topic: Topic, body: bytes) -> CloudEvent[Any] | None:
    try:
        event = topic.event_model.model_validate_json(body)
    except ValidationError as error:
        # Paths and kinds only: the values are somebody's text.
        faults = [f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in error.errors()[:5]]
        _log.error("event_does_not_parse", topic=topic.name, faults=faults, size=len(body))
        return None
    if event.type != topic.event_type:
        _log.error("event_of_unknown_type", topic=topic.name, event_id=event.id, event_type=event.type)
        return None
    return event


async def _handle(topic: Topic, handler: EventHandler, event: CloudEvent[Any]) -> _Ended:
    age = (datetime.now(UTC) - event.time).total_seconds()
    EVENT_AGE.labels(topic.name).observe(max(age, 0.0))
    traceparent = event.traceparent or event.traceid
    with (
        telemetry.bind_correlation_id(event.correlationid or event.id),
        telemetry.continue_trace(traceparent, event.tracestate, f"{topic.name} process"),
    ):
        began = perf_counter()
        ended = await _guarded(topic, handler, event)
        took = perf_counter() - began
        EVENT_HANDLING.labels(topic.name).observe(took)
        _log.info(
            "event_handled",
            topic=topic.name,
            event_id=event.id,
            subject=event.subject,
            outcome=ended.outcome.value,
            duration_ms=round(took * 1000, 2),
        )
        return ended


async def _guarded(topic: Topic, handler: EventHandler, event: CloudEvent[Any]) -> _Ended:
    try:
        return _Ended(await handler(event), may_pass=True)
    except _PASSING_TROUBLE as error:
        _log.warning(
            "event_to_be_retried",
            topic=topic.name,
            event_id=event.id,
            subject=event.subject,
            error=f"{type(error).__name__}: {error}",
        )
        return _Ended(Outcome.RETRY, may_pass=True)
    except Exception:  # noqa: BLE001 - the boundary towards the broker: whatever it is, the event must come again
        _log.exception("event_handler_failed", topic=topic.name, event_id=event.id, subject=event.subject)
        return _Ended(Outcome.RETRY, may_pass=False)
