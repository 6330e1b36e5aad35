"""A collector of OpenTelemetry on loopback that keeps the spans it gets, for tests that ask how these hang together."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class SentSpan:
    """One span as it was sent. Ids are hexadecimal; `parent_id` is empty at the root; `links` are trace ids."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, str]
    links: tuple[str, ...]
    has_failed: bool


class SpanCollector:
    """What came in so far, OTLP over HTTP. `url` is the base address for OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._requests: list[ExportTraceServiceRequest] = []

    def take(self, body: bytes) -> None:
        """Keep a request. Raises DecodeError for what is none."""
        self._requests.append(ExportTraceServiceRequest.FromString(body))

    def spans(self) -> list[SentSpan]:
        """All of them, in the order in which they came."""
        return [
            _sent(_texts(resource.resource.attributes)["service.name"], one)
            for request in list(self._requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for one in scope.spans
        ]

    def text(self) -> str:
        """Everything that was sent, to be searched."""
        return "\n".join(str(request) for request in list(self._requests))


@contextmanager
def collecting_spans() -> Iterator[SpanCollector]:
    """Run a collector on a free port of loopback for the body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            known = self.path == "/v1/traces"
            if known:
                collector.take(body)
            self.send_response(200 if known else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = SpanCollector(f"http://127.0.0.1:{server.server_port}")
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield collector
        finally:
            server.shutdown()
            serving.join()


def path_between(spans: list[SentSpan], above: SentSpan, below: SentSpan) -> list[SentSpan] | None:
    """The spans from `above` down to `below`, both included; None where the one does not descend from the other."""
    known = {(one.trace_id, one.span_id): one for one in spans}
    path = [below]
    while path[0] != above:
        parent = known.get((path[0].trace_id, path[0].parent_id))
        if parent is None:
            return None
        path.insert(0, parent)
    return path


def _sent(service: str, span: Span) -> SentSpan:
    return SentSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _texts(span.attributes),
        tuple(link.trace_id.hex() for link in span.links),
        span.status.code == Status.STATUS_CODE_ERROR,
    )


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {item.key: item.value.string_value for item in attributes}
