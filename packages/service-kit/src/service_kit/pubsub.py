"""Events from the bus: daprd posts each one to `/events/<topic>`, the answer says what becomes of it.

SUCCESS: done. RETRY: again after a while, and to the dead-letter topic when the tries of the policy are used up.
DROP: to the dead-letter topic at once; only for what does not parse, since an outage is not poison.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from time import perf_counter
from typing import Any

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
from service_kit.logs import get_logger
from service_kit.metrics import EVENT_AGE, EVENT_HANDLING, EVENTS_HANDLED
from service_kit.settings import ServiceSettings
from service_kit.sidecar import SidecarError
from service_kit.sidecar_auth import require_own_sidecar
from service_kit.state_store import StateWriteFailed

_log = get_logger(__name__)

_PASSING_TROUBLE = (StateWriteFailed, SidecarError, RedisError, TimeoutError, ConnectionError)
"""Known to go away by itself, so it is worth a line and no traceback."""


class Outcome(StrEnum):
    """What daprd shall do with a delivery."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    DROP = "DROP"


EventHandler = Callable[[CloudEvent[Any]], Awaitable[Outcome]]


def subscribe(app: FastAPI, settings: ServiceSettings, handlers: Mapping[str, EventHandler]) -> DaprApp:
    """Subscribe to each topic of `handlers` (names of the registry) with POST /events/<topic>.

    Serves /dapr/subscribe too, which daprd asks once at start; both answer the own sidecar only, before anything of
    the body is read. What cannot be handled in the end goes to `<service>-dlq`. Raises KeyError for a topic that the
    registry does not know.
    """
    router = APIRouter(dependencies=[Depends(require_own_sidecar(settings))], include_in_schema=False)
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
        register(_receiver(TOPICS[name], handler))
    app.include_router(router)
    return dapr_app


def _receiver(topic: Topic, handler: EventHandler) -> Callable[[Request], Awaitable[Response]]:
    async def receive(request: Request) -> Response:
        body = await request.body()
        began = perf_counter()
        event = _parse(topic, body)
        outcome = Outcome.DROP if event is None else await _handle(topic, handler, event)
        EVENT_HANDLING.labels(topic.name).observe(perf_counter() - began)
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


async def _handle(topic: Topic, handler: EventHandler, event: CloudEvent[Any]) -> Outcome:
    age = (datetime.now(UTC) - event.time).total_seconds()
    EVENT_AGE.labels(topic.name).observe(max(age, 0.0))
    traceparent = event.traceparent or event.traceid
    with (
        telemetry.bind_correlation_id(event.correlationid or event.id),
        telemetry.continue_trace(traceparent, event.tracestate, f"{topic.name} process"),
    ):
        return await _guarded(topic, handler, event)


async def _guarded(topic: Topic, handler: EventHandler, event: CloudEvent[Any]) -> Outcome:
    try:
        return await handler(event)
    except _PASSING_TROUBLE as error:
        _log.warning(
            "event_to_be_retried",
            topic=topic.name,
            event_id=event.id,
            subject=event.subject,
            error=f"{type(error).__name__}: {error}",
        )
    except Exception:  # noqa: BLE001 - the boundary towards the broker: whatever it is, the event must come again
        _log.exception("event_handler_failed", topic=topic.name, event_id=event.id, subject=event.subject)
    return Outcome.RETRY
