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

from service_kit.deliveries import Deliveries, install_deliveries
from service_kit.logs import get_logger
from service_kit.metrics import DEPENDENCY_AVAILABLE, HEALTH_CHECKS, HEALTH_DURATION
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Sidecar

FULL_CACHE_SECONDS = 5.0
READY_CACHE_SECONDS = 0.5
"""daprd asks every three seconds whether it may deliver, and one red answer stops it, so the answer must be fresh."""
DEPENDENCY_TIMEOUT_SECONDS = 0.5
DELIVERIES_TIMEOUT_SECONDS = 2.0
"""For the sidecar's question alone, which waits for 2.9 s: a store that is slow under load is there, and to stop
deliveries, and with them all calls from other services, for so long would make it worse."""

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

    All need no token. Each dependency gets 0.5 s at most (2 s for /health/deliveries), all are asked at once; /health
    is kept for 5 s, what the others need for 0.5 s. `sidecar` is asked once whether it outlived an earlier process of
    this app, and tells when it takes up its subscriptions (service_kit.deliveries).
    """
    timeout = min(settings.health_check_timeout, DEPENDENCY_TIMEOUT_SECONDS)
    everything = _Checker(dependencies, timeout, FULL_CACHE_SECONDS)
    needed = [one for one in dependencies if one.critical]
    critical = _Checker(needed, timeout, READY_CACHE_SECONDS)
    patient = _Checker(needed, DELIVERIES_TIMEOUT_SECONDS, READY_CACHE_SECONDS)
    transitions = _Transitions()

    async def answer(checker: _Checker) -> Response:
        report = await checker.report()
        transitions.note(report)
        return _json(200 if report.healthy else 503, _body(settings, report))

    async def health() -> Response:
        return await answer(everything)

    async def ready() -> Response:
        return await answer(critical)

    deliveries = Deliveries(sidecar)
    install_deliveries(app, settings, deliveries)

    async def deliverable() -> Response:
        report = await patient.report()
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
