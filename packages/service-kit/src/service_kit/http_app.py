"""What every HTTP service does around its routes: ids, spans, metrics, access log, limits, headers; and serving."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from service_kit.http_middleware import QUIET_KEY, BodyLimit, RequestScope
from service_kit.logs import configure_logs
from service_kit.problems import install_problems
from service_kit.settings import ServiceSettings
from service_kit.telemetry import configure_telemetry, shutdown_telemetry

MAX_BODY_BYTES = 1024 * 1024
GRACEFUL_SECONDS = 10
_EXPOSED_HEADERS = ("ETag", "Location", "Retry-After", "X-Request-ID", "X-Undo-Token")


def install_http(app: FastAPI, settings: ServiceSettings) -> None:
    """Put request ids, spans, metrics, the access log, the body limit, CORS and security headers around `app`, let it
    answer errors as problems, and serve /metrics. To be called once, before the first request."""
    install_problems(app)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    if settings.cors_allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_allowed_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key"],
            expose_headers=list(_EXPOSED_HEADERS),
            max_age=600,
        )
    # The last one added is the outermost: it sees every answer, those of the other middlewares included.
    app.add_middleware(RequestScope)

    async def metrics() -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route("/metrics", metrics, methods=["GET"], include_in_schema=False)


def mark_quiet(request: Request) -> None:
    """Leave this request out of the access log when it succeeds."""
    request.scope[QUIET_KEY] = True


def serve(build_app: Callable[[], FastAPI], settings: ServiceSettings) -> None:
    """Configure logs and telemetry, build the app, and serve it until SIGTERM or SIGINT; open requests get 10 s.

    Raises SystemExit with one sentence when the port is taken or the address is not ours.
    """
    configure_logs(settings)
    configure_telemetry(settings)
    listener = _listen(settings.app_host, settings.app_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        # The server shuts down on either and then raises it anew: by default that ends the process on the spot.
        signal.signal(number, _leave)
    try:
        uvicorn.Server(_server_config(build_app(), settings)).run(sockets=[listener])
    finally:
        listener.close()
        shutdown_telemetry()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _server_config(app: FastAPI, settings: ServiceSettings) -> uvicorn.Config:
    proxies = settings.trusted_proxies
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies) or None,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_keep_alive=65,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port that is taken is told before anything else is opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SystemExit(
            f"Cannot listen on {host}:{port} ({error.strerror}): stop what uses the port, "
            "or set APP_HOST and APP_PORT to an address that is free."
        ) from None
    listener.set_inheritable(False)
    return listener
