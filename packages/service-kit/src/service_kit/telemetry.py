"""Trace context through requests and events (W3C Trace Context), and spans to a collector when there is one.

The tracer provider is this module's own, not OpenTelemetry's global one: web frameworks that look for a global
provider would make a second span, and several operation spans, for every request.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    TraceState,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from event_contracts.origin import Origin
from service_kit.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FLUSH_MILLISECONDS = 3_000
"""How long a shutdown waits for the collector to take the last spans."""

_TRACEPARENT_LENGTH = 55

_propagator = TraceContextTextMapPropagator()
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)


class _Spans:
    """Where spans are made: without a collector only their context exists, which is all that propagation needs."""

    def __init__(self) -> None:
        self.provider: TracerProvider | None = None
        self.tracer: Tracer | None = None

    def start(
        self, name: str, kind: SpanKind, parent: otel_context.Context, attributes: Mapping[str, str] | None
    ) -> Span:
        if self.tracer is not None:
            return self.tracer.start_span(name, context=parent, kind=kind, attributes=attributes)
        return NonRecordingSpan(_child_context(trace.get_current_span(parent).get_span_context()))


_spans = _Spans()


def _child_context(parent: SpanContext) -> SpanContext:
    known = parent.is_valid
    return SpanContext(
        trace_id=parent.trace_id if known else _random_id(128),
        span_id=_random_id(64),
        is_remote=False,
        trace_flags=parent.trace_flags if known else TraceFlags(TraceFlags.DEFAULT),
        trace_state=parent.trace_state if known else TraceState(),
    )


def _random_id(bits: int) -> int:
    # Not zero, which would mean that there is none (W3C Trace Context, 3.2.2.3). Ids are no secrets.
    return random.getrandbits(bits) or 1


def configure_telemetry(settings: ServiceSettings) -> None:
    """Send spans to `otel_exporter_otlp_endpoint` when it is set; else they exist as context only.

    May be called again (the newer settings count). Spans are sent from a thread of the exporter, in batches; a
    collector that is away costs nothing but its spans.
    """
    shutdown_telemetry()
    if settings.otel_exporter_otlp_endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(
        resource=Resource.create(
            {
                "service.name": settings.service_name,
                "service.version": settings.service_version,
                "deployment.environment.name": settings.environment,
            }
        ),
        sampler=ParentBased(TraceIdRatioBased(settings.trace_sample_ratio)),
        shutdown_on_exit=False,
    )
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=2)))
    _spans.provider = provider
    _spans.tracer = provider.get_tracer("service_kit")


def shutdown_telemetry() -> None:
    """Send what is left, waiting 3 s at most, and stop. Blocks; safe to call twice."""
    provider, _spans.provider, _spans.tracer = _spans.provider, None, None
    if provider is not None:
        provider.force_flush(FLUSH_MILLISECONDS)
        provider.shutdown()


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    traceparent: str | None = None,
    tracestate: str | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """Run the body inside a new span: the child of `traceparent`, or without one of the current span.

    A `traceparent` that cannot be read begins a new trace (W3C Trace Context, 3.2.2.5). Exceptions pass through; they
    mark the span as failed.
    """
    parent = (
        _remote_context(traceparent, tracestate) if traceparent is not None else otel_context.get_current()
    )
    started = _spans.start(name, kind, parent, attributes)
    token = otel_context.attach(trace.set_span_in_context(started, parent))
    try:
        yield started
    except BaseException as error:
        if started.is_recording():
            started.set_attribute("error.type", type(error).__qualname__)
            started.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        otel_context.detach(token)
        started.end()


@contextmanager
def continue_trace(traceparent: str | None, tracestate: str | None, name: str) -> Iterator[Span]:
    """Run the body as the consumer of an event that carried this trace context; without one a new trace begins."""
    # What is current here is the sidecar's delivery, and its trace says nothing about the event: never join it.
    with span(name, kind=SpanKind.CONSUMER, traceparent=traceparent or "", tracestate=tracestate) as started:
        yield started


def carry_on(traceparent: str, name: str) -> str | None:
    """The `traceparent` of an event that belongs to another trace than the current one: that of a producer's span
    `name`, a child of `traceparent`."""
    if _spans.tracer is None and len(traceparent) == _TRACEPARENT_LENGTH:
        return f"{traceparent[:36]}{_random_id(64):016x}{traceparent[52:]}"  # only the parent's id is another one
    with span(name, kind=SpanKind.PRODUCER, traceparent=traceparent):
        return current_traceparent()


@contextmanager
def asking(name: str) -> Iterator[Span]:
    """Run the body inside a span for what is asked of another system, which does not know of traces."""
    with span(name, kind=SpanKind.CLIENT) as started:
        yield started


def present_origin() -> Origin:
    """What is to be kept with something that is done later for the call of now."""
    return Origin(current_traceparent(), correlation_id())


def _remote_context(traceparent: str, tracestate: str | None) -> otel_context.Context:
    carrier = {"traceparent": traceparent}
    if tracestate:
        carrier["tracestate"] = tracestate
    return _propagator.extract(carrier, context=otel_context.Context())


def link_to(traceparent: str | None) -> None:
    """Note on the current span that another trace has to do with it too; nothing where there is none to be read."""
    other = trace.get_current_span(_remote_context(traceparent or "", None)).get_span_context()
    if other.is_valid:
        trace.get_current_span().add_link(other)


def current_traceparent() -> str | None:
    """The `traceparent` of the current span (W3C Trace Context, 3.2), to be sent along; None outside of any span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_tracestate() -> str | None:
    """The `tracestate` that belongs to `current_traceparent()`; None when there is none."""
    return trace.get_current_span().get_span_context().trace_state.to_header() or None


def current_trace_id() -> str | None:
    """The current trace's id in hexadecimal, for logs; None outside of any span."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def correlation_id() -> str | None:
    """The id that ties together everything one call set off, in every service; None outside of calls and events."""
    return _correlation_id.get()


@contextmanager
def bind_correlation_id(value: str) -> Iterator[None]:
    """Make `value` the correlation id for the body."""
    token = _correlation_id.set(value)
    try:
        yield
    finally:
        _correlation_id.reset(token)


def request_id() -> str | None:
    """The id of the HTTP request that is being answered; None outside of one."""
    return _request_id.get()


def bind_request(request: str, correlation: str) -> tuple[Token[str | None], Token[str | None]]:
    """Set both ids; give the tokens back to `unbind_request`."""
    return _request_id.set(request), _correlation_id.set(correlation)


def unbind_request(tokens: tuple[Token[str | None], Token[str | None]]) -> None:
    """Undo `bind_request`."""
    _request_id.reset(tokens[0])
    _correlation_id.reset(tokens[1])
