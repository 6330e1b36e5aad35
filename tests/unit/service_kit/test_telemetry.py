"""W3C trace context goes through calls and events, with or without a collector."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service_kit.settings import ServiceSettings
from service_kit.telemetry import (
    bind_correlation_id,
    configure_telemetry,
    continue_trace,
    correlation_id,
    current_traceparent,
    current_tracestate,
    shutdown_telemetry,
    span,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_outside_of_spans_there_is_no_context() -> None:
    assert current_traceparent() is None
    assert current_tracestate() is None


def test_a_span_begins_a_trace() -> None:
    with span("work"):
        first = current_traceparent()
        with span("part"):
            second = current_traceparent()
    assert first is not None
    assert second is not None
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", first)
    assert first.split("-")[1] == second.split("-")[1]
    assert first.split("-")[2] != second.split("-")[2]
    assert current_traceparent() is None


def test_an_event_continues_its_trace() -> None:
    with continue_trace(PARENT, "vendor=1", "task-created process"):
        inside = current_traceparent()
        assert current_tracestate() == "vendor=1"
    assert inside is not None
    version, trace, parent, flags = inside.split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert parent != "00f067aa0ba902b7"


@pytest.mark.parametrize("unsampled", [f"00-{TRACE}-00f067aa0ba902b7-00"])
def test_the_sampling_decision_is_passed_on(unsampled: str) -> None:
    with continue_trace(unsampled, None, "x"):
        assert str(current_traceparent()).endswith("-00")


@pytest.mark.parametrize("bad", [None, "", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
def test_an_event_without_a_trace_begins_one_of_its_own(bad: str | None) -> None:
    with continue_trace(bad, None, "x"):
        inside = current_traceparent()
    assert inside is not None
    assert TRACE not in inside


def test_an_event_without_a_trace_does_not_join_that_of_its_delivery() -> None:
    with span("delivery", traceparent=PARENT):
        with continue_trace(None, None, "x"):
            inside = current_traceparent()
        assert TRACE in str(current_traceparent())
    assert TRACE not in str(inside)


async def test_tasks_keep_their_correlation_apart() -> None:
    async def work(name: str) -> str | None:
        with bind_correlation_id(name):
            await asyncio.sleep(0)
            return correlation_id()

    assert list(await asyncio.gather(work("a"), work("b"))) == ["a", "b"]
    assert correlation_id() is None


class Collector:
    """An OTLP collector that keeps what it gets."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                outer.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def test_with_a_collector_spans_are_sent_at_the_latest_at_shutdown(
    settings: ServiceSettings, collector: Collector
) -> None:
    configure_telemetry(settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url + "/"}))
    with (
        pytest.raises(KeyError),
        continue_trace(PARENT, None, "task-created process"),
        span("apply", attributes={"task": "1"}),
    ):
        raise KeyError("gone")
    shutdown_telemetry()
    resource = collector.requests[0].resource_spans[0]
    names = {item.name: item for item in resource.scope_spans[0].spans}
    assert {"task-created process", "apply"} == names.keys()
    assert names["apply"].trace_id.hex() == TRACE
    assert names["apply"].parent_span_id == names["task-created process"].span_id
    assert names["apply"].status.code == 2
    attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert attributes["service.name"] == "reminders"


def test_unsampled_traces_are_not_sent(settings: ServiceSettings, collector: Collector) -> None:
    chosen = {"otel_exporter_otlp_endpoint": collector.url, "trace_sample_ratio": 0.0}
    configure_telemetry(settings.model_copy(update=chosen))
    with span("work"):
        assert int(str(current_traceparent())[-2:], 16) & 1 == 0
    shutdown_telemetry()
    assert collector.requests == []
