"""Whether this process lives (/health/live), may get work (/health/ready) and events (/health/deliveries), and what it
needs (/health)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from time import monotonic, perf_counter
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.responses import Response

from service_kit.logs import get_logger
from service_kit.metrics import DEPENDENCY_AVAILABLE, HEALTH_CHECKS, HEALTH_DURATION
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Sidecar, SidecarAbsent, SidecarError

FULL_CACHE_SECONDS = 5.0
READY_CACHE_SECONDS = 0.5
"""daprd asks each second whether it may deliver; red three times in a row stops it, so the answer must be fresh."""
DEPENDENCY_TIMEOUT_SECONDS = 0.5
SETTLE_SECONDS = 14.0
"""How long deliveries stay off once they were: what the sidecar needs to notice (4 s) and, after that, to end the tries
of an event that was under way (components/resiliency.yaml: six waits of 1 s, and 3 s of a try that hangs)."""
STALL_SECONDS = 1.5
"""A pause of the event loop after which the sidecar may have missed its answers."""
_BEAT_SECONDS = 0.25
_LOOKED_AT_SECONDS = 10.0

_log = get_logger(__name__)


@dataclass(frozen=True)
class Dependency:
    """Something this service needs. `check` returns when it is there and raises when not; `critical` is what the
    service cannot work without: readiness and the status depend on these alone."""

    name: str
    check: Callable[[], Awaitable[None]]
    critical: bool


@dataclass(frozen=True)
class DependencyHealth:
    """How one check ended. `error` is a word without internals: timeout, unavailable."""

    name: str
    available: bool
    response_time_ms: float
    critical: bool
    error: str | None = None


@dataclass(frozen=True)
class HealthReport:
    """One check of some dependencies."""

    healthy: bool
    timestamp: datetime
    dependencies: tuple[DependencyHealth, ...]


class _Checker:
    """Checks dependencies at once, keeps the answer for a while, and lets those who ask meanwhile share one check."""

    def __init__(self, dependencies: Sequence[Dependency], timeout: float, keep_seconds: float) -> None:
        self._dependencies = tuple(dependencies)
        self._timeout = timeout
        self._keep_seconds = keep_seconds
        self._running: asyncio.Task[HealthReport] | None = None
        self._report: HealthReport | None = None
        self._report_at = 0.0

    async def report(self) -> HealthReport:
        if self._report is not None and monotonic() - self._report_at < self._keep_seconds:
            return self._report
        if self._running is None:
            self._running = asyncio.create_task(self._check_all())
        # A caller that hangs up must not take the check away from the others who wait for it.
        return await asyncio.shield(self._running)

    async def _check_all(self) -> HealthReport:
        began = perf_counter()
        try:
            results = await asyncio.gather(*(self._check(one) for one in self._dependencies))
            healthy = all(one.available for one in results if one.critical)
            report = HealthReport(healthy, datetime.now(UTC), tuple(results))
            self._report, self._report_at = report, monotonic()
        finally:
            self._running = None
        status = "healthy" if healthy else "unhealthy"
        HEALTH_DURATION.labels(status).observe(perf_counter() - began)
        HEALTH_CHECKS.labels(status).inc()
        return report

    async def _check(self, dependency: Dependency) -> DependencyHealth:
        began = perf_counter()
        error: str | None = None
        try:
            async with asyncio.timeout(self._timeout):
                await dependency.check()
        except TimeoutError:
            error = "timeout"
        except Exception as failure:  # noqa: BLE001 - the boundary: a check may fail in any way, the answer is the same
            error = "timeout" if "timeout" in type(failure).__name__.lower() else "unavailable"
            _log.debug("health_check_failed", dependency=dependency.name, exc_info=failure)
        elapsed = round((perf_counter() - began) * 1000, 2)
        return DependencyHealth(dependency.name, error is None, elapsed, dependency.critical, error)


class _Deliveries:
    """Whether the own sidecar may deliver events.

    A sidecar that finds its app unwell drops the app's subscriptions, and takes them up again when the app is well. If
    it is well before the last event that was under way has run out of tries, daprd takes up the new subscription first
    and then ends the old one of the same topic, and with it the new one: the topic stays silent until daprd is started
    anew. So once deliveries were off, or may have been, they stay off for SETTLE_SECONDS: after a red answer, after a
    stall of the event loop, and at the start beside a sidecar that has subscriptions of a process before this one.
    """

    def __init__(self, sidecar: Sidecar | None) -> None:
        self._sidecar = sidecar
        self._asked: asyncio.Task[None] | None = None
        self._was_on = False
        self._off_until = 0.0
        self._watching = False
        self._last_beat = self._last_look = 0.0

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
        if not healthy and self._was_on:
            self._settle("unhealthy")
        on = healthy and monotonic() >= self._off_until
        if on and not self._was_on:
            _log.info("deliveries_on")
        self._was_on = on
        return on

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
        self._off_until = monotonic() + SETTLE_SECONDS
        self._was_on = False
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


class _Transitions:
    """Logs and measures what changed: one WARNING when a dependency goes, one line when it is back."""

    def __init__(self) -> None:
        self._available: dict[str, bool] = {}

    def note(self, report: HealthReport) -> None:
        for one in report.dependencies:
            DEPENDENCY_AVAILABLE.labels(one.name).set(one.available)
            before = self._available.get(one.name, True)
            self._available[one.name] = one.available
            if before and not one.available:
                _log.warning("dependency_lost", dependency=one.name, error=one.error, critical=one.critical)
            elif one.available and not before:
                _log.info("dependency_back", dependency=one.name, response_time_ms=one.response_time_ms)


def install_health(
    app: FastAPI,
    settings: ServiceSettings,
    dependencies: Sequence[Dependency],
    sidecar: Sidecar | None = None,
) -> None:
    """Serve GET /health (every dependency; 503 when a critical one is away), /health/live and /health/ready, and
    /health/deliveries, which is what the sidecar asks: ready, and long enough so since it last was not.

    All need no token. Each dependency gets 0.5 s at most, all are asked at once; /health is kept for 5 s, what the
    others need for 0.5 s. `sidecar` is asked once whether it outlived an earlier process of this app.
    """
    timeout = min(settings.health_check_timeout, DEPENDENCY_TIMEOUT_SECONDS)
    everything = _Checker(dependencies, timeout, FULL_CACHE_SECONDS)
    critical = _Checker([one for one in dependencies if one.critical], timeout, READY_CACHE_SECONDS)
    transitions = _Transitions()

    async def answer(checker: _Checker) -> Response:
        report = await checker.report()
        transitions.note(report)
        return _json(200 if report.healthy else 503, _body(settings, report))

    async def health() -> Response:
        return await answer(everything)

    async def ready() -> Response:
        return await answer(critical)

    deliveries = _Deliveries(sidecar)

    async def deliverable() -> Response:
        report = await critical.report()
        transitions.note(report)
        on = await deliveries.may_be_on(report.healthy)
        body = _body(settings, report)
        if not on:
            body["status"] = "unhealthy"
        return _json(200 if on else 503, body)

    async def live() -> Response:
        return _json(200, _body(settings, HealthReport(True, datetime.now(UTC), ())))

    described: dict[int | str, dict[str, Any]] = {
        200: {"description": "healthy"},
        503: {"description": "a critical dependency is away"},
    }
    tags: list[str | Enum] = ["health"]
    app.add_api_route("/health", health, methods=["GET"], tags=tags, responses=described)
    app.add_api_route("/health/ready", ready, methods=["GET"], tags=tags, responses=described)
    app.add_api_route("/health/deliveries", deliverable, methods=["GET"], include_in_schema=False)
    app.add_api_route("/health/live", live, methods=["GET"], tags=tags)


def _body(settings: ServiceSettings, report: HealthReport) -> dict[str, Any]:
    return {
        "status": "healthy" if report.healthy else "unhealthy",
        "timestamp": report.timestamp,
        "service": settings.service_name,
        "version": settings.service_version,
        "dependencies": [_dependency_body(one) for one in report.dependencies],
    }


def _dependency_body(one: DependencyHealth) -> dict[str, Any]:
    body = {"name": one.name, "available": one.available, "response_time_ms": one.response_time_ms}
    return body if one.error is None else body | {"error": one.error}


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(
        orjson.dumps(body, option=orjson.OPT_UTC_Z), status_code=status, media_type="application/json"
    )
