"""W3C trace context goes through calls and events, with or without a collector."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from service_kit.settings import ServiceSettings
from service_kit.telemetry import (
    bind_correlation_id,
    carry_on,
    configure_telemetry,
    continue_trace,
    correlation_id,
    current_traceparent,
    current_tracestate,
    link_to,
    shutdown_telemetry,
    span,
)
from service_kit.testing.spans import SpanCollector, collecting_spans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_later_event_is_of_the_trace_that_it_is_told_for(flags: str) -> None:
    parent = f"00-{TRACE}-00f067aa0ba902b7-{flags}"
    with span("something else"):
        told = carry_on(parent, "reminder-due publish")
    assert told is not None
    version, trace, sender, decision = told.split("-")
    assert (version, trace, decision) == ("00", TRACE, flags)
    assert re.fullmatch(r"[0-9a-f]{16}", sender)
    assert sender != "00f067aa0ba902b7"


def test_a_trace_that_cannot_be_read_begins_anew_for_a_later_event() -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", str(carry_on("nonsense", "x")))


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


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    with collecting_spans() as running:
        yield running


def test_with_a_collector_spans_are_sent_at_the_latest_at_shutdown(
    settings: ServiceSettings, collector: SpanCollector
) -> None:
    configure_telemetry(settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url + "/"}))
    with (
        pytest.raises(KeyError),
        continue_trace(PARENT, None, "task-created process"),
        span("apply", attributes={"task": "1"}),
    ):
        raise KeyError("gone")
    shutdown_telemetry()
    names = {item.name: item for item in collector.spans()}
    assert {"task-created process", "apply"} == names.keys()
    assert names["apply"].trace_id == TRACE
    assert names["apply"].parent_id == names["task-created process"].span_id
    assert names["apply"].has_failed
    assert names["apply"].service == "reminders"


@pytest.mark.parametrize(("other", "links"), [(OTHER, (OTHER[3:35],)), (None, ()), ("nonsense", ())])
def test_a_span_may_have_to_do_with_another_trace(
    settings: ServiceSettings, collector: SpanCollector, other: str | None, links: tuple[str, ...]
) -> None:
    configure_telemetry(settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url}))
    with continue_trace(PARENT, None, "deliver email"):
        link_to(other)
    shutdown_telemetry()
    (sent,) = collector.spans()
    assert (sent.trace_id, sent.links) == (TRACE, links)


def test_links_cost_nothing_where_spans_go_nowhere() -> None:
    with continue_trace(PARENT, None, "deliver email"):
        link_to(OTHER)
    link_to(OTHER)


def test_unsampled_traces_are_not_sent(settings: ServiceSettings, collector: SpanCollector) -> None:
    chosen = {"otel_exporter_otlp_endpoint": collector.url, "trace_sample_ratio": 0.0}
    configure_telemetry(settings.model_copy(update=chosen))
    with span("work"):
        assert int(str(current_traceparent())[-2:], 16) & 1 == 0
    shutdown_telemetry()
    assert collector.spans() == []
