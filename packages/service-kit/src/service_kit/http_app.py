"""What every HTTP service does around its routes: ids, spans, metrics, access log, limits, headers; and serving."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Mapping
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from service_kit.admission import Admission
from service_kit.http_limits import Deadline, HeadLimits
from service_kit.http_middleware import QUIET_KEY, BodyBound, BodyLimit, RequestScope
from service_kit.http_protocol import bounded_http
from service_kit.logs import configure_logs
from service_kit.problems import install_problems
from service_kit.reload import serve_anew, serves_itself
from service_kit.settings import ServiceSettings
from service_kit.telemetry import configure_telemetry, shutdown_telemetry

MAX_BODY_BYTES = 1024 * 1024
GARBAGE_THRESHOLD = 20_000
"""How many new objects bring a look for cycles; Python's own figure is 700."""
GRACEFUL_SECONDS = 10
UNREAD_SECONDS = 60
"""After which a connection is dropped whose other side takes nothing of what was sent."""
_EXPOSED_HEADERS = (
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-ID",
    "X-Undo-Token",
)


def install_http(
    app: FastAPI, settings: ServiceSettings, *, larger_bodies: Mapping[str, BodyBound] | None = None
) -> None:
    """Put request ids, spans, metrics, the access log, the limits of number, size and time, CORS and security headers
    around `app`, let it answer errors as problems, and serve /metrics. To be called once, before the first request.

    Bodies have 1 MiB at most, but on the paths of `larger_bodies`, each with its bound.
    """
    install_problems(app)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, larger=larger_bodies)
    app.add_middleware(Deadline, seconds=settings.request_timeout)
    app.add_middleware(HeadLimits, url_bytes=settings.max_url_bytes, header_bytes=settings.max_header_bytes)
    app.add_middleware(Admission, at_once=settings.requests_at_once)
    if settings.cors_allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_allowed_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-Match",
                "If-None-Match",
                "Last-Event-ID",
            ],
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


def on_leaving(app: FastAPI, tell: Callable[[], None]) -> None:
    """Have `tell` called in the event loop when the server begins to shut down, before it waits for open requests: a
    stream that never ends by itself ends then, or it would hold the process until it is cut off."""
    _leaving(app).append(tell)


def _leaving(app: FastAPI) -> list[Callable[[], None]]:
    if not hasattr(app.state, "leaving"):
        app.state.leaving = []
    return cast("list[Callable[[], None]]", app.state.leaving)


class Server(uvicorn.Server):
    """uvicorn's server, which tells the app that it is about to go."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell those who asked for it, then close listeners and wait."""
        for tell in _leaving(self._app):
            tell()
        await super().shutdown(sockets)


def serve(build_app: Callable[[], FastAPI], settings: ServiceSettings) -> None:
    """Configure logs and telemetry, build the app, and serve it until SIGTERM or SIGINT; open requests get 10 s.

    With `settings.reload` another process does so, a new one for each source that is saved. Raises SystemExit with one
    sentence when the port is taken or the address is not ours.
    """
    configure_logs(settings)
    if settings.reload and not serves_itself():
        serve_anew()
        return
    configure_telemetry(settings)
    listener = _listen(settings.app_host, settings.app_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        # The server shuts down on either and then raises it anew: by default that ends the process on the spot.
        signal.signal(number, _leave)
    try:
        app = build_app()
        server = Server(_server_config(app, settings), app)
        # What is there now stays until the end: to look through it for garbage again and again stops every request.
        # What a request leaves goes when nothing refers to it any more; the few cycles among it can wait.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD)
        server.run(sockets=[listener])
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
        http=bounded_http(settings.max_url_bytes + settings.max_header_bytes),
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
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Connections inherit it. Closing one leaves what is written in its buffer until the other side takes it, which
        # a client that reads nothing never does.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
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
