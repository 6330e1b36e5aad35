"""Whether the own sidecar may deliver events, which it asks every three seconds (service_kit.health answers).

A sidecar that finds its app unwell drops the app's subscriptions, and takes them up again when the app is well. If it
is well before the last event that was under way has run out of tries, or before the last subscription is gone, daprd
takes up the new subscription first and then ends the old one of the same topic, and with it the new one: the topic
stays silent until the subscriptions are dropped once more. So once deliveries were off, or may have been, they stay off
until all of that is over.

That is long, so a store that is away for a moment is waited for first: who handles events tries each again and answers
late meanwhile (service_kit.pubsub), so that its tries outlast the patience.

An app need not know that it was found unwell: its answer came too late for daprd. But a sidecar that takes its
subscriptions up asks for each binding right after, so one binding is there for that (components/subscribed.yaml). Asked
for when nobody turned deliveries off before, it means that topics may be silent, and deliveries are turned off in good
order.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from fastapi import APIRouter, Depends, FastAPI
from starlette.responses import Response

from service_kit.logs import get_logger
from service_kit.metrics import DELIVERIES_OFF
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Sidecar, SidecarAbsent, SidecarError
from service_kit.sidecar_auth import require_own_sidecar

SETTLE_SECONDS = 8.5
"""How long deliveries stay off from the first answer that says so, which the sidecar takes at its word: until the tries
of an event that was under way are over (components/resiliency.yaml: 3 s of a try that hangs, five waits of 1 s)."""
PATIENCE_SECONDS = 5.0
"""For how long the critical dependencies may be away before deliveries stop. The sidecar asks every 3 s, and a check of
them takes 2 s at most: it hears no 11 s after they went, and an event whose every try fails has 17 s."""
STALL_SECONDS = 2.5
"""A pause of the event loop after which the sidecar may have missed its answer: it waits for 2.9 s."""
_BEAT_SECONDS = 0.25
_LOOKED_AT_SECONDS = 10.0

_log = get_logger(__name__)


class Deliveries:
    """What to answer the sidecar. `sidecar` is asked once whether it has subscriptions of an earlier process."""

    def __init__(self, sidecar: Sidecar | None) -> None:
        self._sidecar = sidecar
        self._asked: asyncio.Task[None] | None = None
        self._was_on = False
        self._off_until = 0.0
        self._unwell_since: float | None = None
        self._is_to_settle = False
        self._watching = False
        self._last_beat = self._last_look = 0.0
        self._subscribing_is_due = True

    async def may_be_on(self, healthy: bool) -> bool:
        """What to answer now that the critical dependencies are there, or not."""
        if self._asked is None:
            self._asked = asyncio.create_task(self._ask_sidecar())
        await asyncio.shield(self._asked)
        self._last_look = monotonic()
        if self._watching:
            self._beat()
        else:
            self._watching, self._last_beat = True, monotonic()
            self._watch()
        if healthy or not self._was_on:
            self._unwell_since = None
        elif self._unwell_since is None:
            self._unwell_since, healthy = monotonic(), True
        elif monotonic() - self._unwell_since < PATIENCE_SECONDS:
            healthy = True
        else:
            self._settle("unhealthy")
        if self._is_to_settle:
            self._is_to_settle = False
            self._off_until = monotonic() + SETTLE_SECONDS
        on = healthy and monotonic() >= self._off_until
        if on and not self._was_on:
            _log.info("deliveries_on")
            self._subscribing_is_due = True
        self._was_on = on
        return on

    @property
    def are_on(self) -> bool:
        """What was answered last."""
        return self._was_on

    def sidecar_began(self) -> None:
        """A new sidecar is about to take up its first subscriptions."""
        self._subscribing_is_due = True

    def sidecar_subscribed(self) -> None:
        """The sidecar has taken up the subscriptions; unless that was due, it had dropped them a moment before."""
        if not self._subscribing_is_due:
            self._settle("resubscribed")
        self._subscribing_is_due = False

    async def _ask_sidecar(self) -> None:
        """A sidecar that has no subscriptions yet, or is not there yet, has nothing under way."""
        if self._sidecar is None:
            return
        try:
            subscriptions = (await self._sidecar.metadata()).get("subscriptions")
        except SidecarAbsent:
            return
        except SidecarError:
            subscriptions = True
        if subscriptions:
            self._settle("restarted")

    def _settle(self, why: str) -> None:
        """Say no from the next answer on, and for so long after it."""
        self._is_to_settle = True
        self._was_on = False
        DELIVERIES_OFF.labels(why).inc()
        _log.warning("deliveries_off", why=why, seconds=SETTLE_SECONDS)

    def _watch(self) -> None:
        """Feel the pulse of the event loop for as long as somebody looks."""
        self._beat()
        self._watching = monotonic() - self._last_look < _LOOKED_AT_SECONDS
        if self._watching:
            asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._watch)

    def _beat(self) -> None:
        now = monotonic()
        if now - self._last_beat >= STALL_SECONDS and (self._was_on or now < self._off_until):
            self._settle("stalled")
        self._last_beat = now


def deliveries_are_on(app: FastAPI) -> bool:
    """Whether the sidecar was last told that it may deliver; no, where it never asked."""
    deliveries: Deliveries | None = getattr(app.state, "deliveries", None)
    return deliveries is not None and deliveries.are_on


def install_deliveries(app: FastAPI, settings: ServiceSettings, deliveries: Deliveries) -> None:
    """Hear the sidecar's signs: GET /dapr/config, with which it begins, and OPTIONS /subscribed, with which it has
    taken up its subscriptions."""
    app.state.deliveries = deliveries
    router = APIRouter(dependencies=[Depends(require_own_sidecar(settings))], include_in_schema=False)

    async def began() -> dict[str, str]:
        deliveries.sidecar_began()
        return {}

    async def subscribed() -> Response:
        deliveries.sidecar_subscribed()
        return Response(status_code=200)

    async def tick() -> Response:
        return Response(status_code=200)

    router.add_api_route("/dapr/config", began, methods=["GET"])
    router.add_api_route("/subscribed", subscribed, methods=["OPTIONS"])
    router.add_api_route("/subscribed", tick, methods=["POST"])
    app.include_router(router)
