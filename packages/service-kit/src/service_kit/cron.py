"""Ticks of Dapr cron bindings: hints that it may be time for something, sent to every replica."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from service_kit.http_app import mark_quiet
from service_kit.logs import get_logger
from service_kit.metrics import CRON_TICKS, LAST_TICK
from service_kit.settings import ServiceSettings
from service_kit.sidecar_auth import require_own_sidecar
from service_kit.telemetry import bind_correlation_id, request_id

_log = get_logger(__name__)

Tick = Callable[[], Awaitable[None]]


def on_cron(app: FastAPI, settings: ServiceSettings, name: str, tick: Tick) -> None:
    """Run `tick` at each POST /<name>; OPTIONS /<name> tells daprd at its start that this service wants the binding.

    Both are for the own sidecar only and answer exactly 200, whatever the tick did: daprd discards errors, so they
    are logged and counted here. Ticks may come faster than they are done; then the one that runs is repeated once
    more at its end, and the others answer at once, so no hint is lost and none pile up.
    """
    runner = _Runner(name, tick)
    router = APIRouter(dependencies=[Depends(require_own_sidecar(settings))], include_in_schema=False)

    async def probe(request: Request) -> Response:
        return Response(status_code=200)

    async def run(request: Request) -> Response:
        mark_quiet(request)
        with bind_correlation_id(request_id() or name):
            await runner.tick()
        return Response(status_code=200)

    router.add_api_route(f"/{name}", probe, methods=["OPTIONS"])
    router.add_api_route(f"/{name}", run, methods=["POST"])
    app.include_router(router)


class _Runner:
    """Keeps at most one tick running, and remembers whether another was asked for meanwhile."""

    def __init__(self, name: str, tick: Tick) -> None:
        self._name = name
        self._tick = tick
        self._running = False
        self._again = False

    async def tick(self) -> None:
        LAST_TICK.labels(self._name).set_to_current_time()
        if self._running:
            self._again = True
            CRON_TICKS.labels(self._name, "joined").inc()
            return
        self._running = True
        try:
            self._again = True
            while self._again:
                self._again = False
                await self._once()
        finally:
            self._running = False

    async def _once(self) -> None:
        began = perf_counter()
        try:
            await self._tick()
        except Exception:  # noqa: BLE001 - the boundary towards daprd, which would discard the error
            CRON_TICKS.labels(self._name, "failed").inc()
            _log.exception("cron_tick_failed", cron=self._name)
        else:
            CRON_TICKS.labels(self._name, "done").inc()
            _log.debug("cron_tick", cron=self._name, duration_ms=round((perf_counter() - began) * 1000, 1))
