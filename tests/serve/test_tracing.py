"""Spans for OpenTelemetry, where its variables ask for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from convsmith.errors import ConvsmithError
from convsmith.serve import outside, tracing
from convsmith.serve.app import create_app
from convsmith.serve.tracing import Tracing, tracing_wanted
from tests.colours import picture
from tests.serve.running import PATIENCE, served, wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def spans(colour_bundle: Path) -> Iterator[tuple[ReadableSpan, ...]]:
    """Those of one image that is part of a trace, and of one that cannot be read."""
    exporter = InMemorySpanExporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outside, "tracing_wanted", lambda: Tracing(SimpleSpanProcessor(exporter)))
        with served(create_app(colour_bundle)) as (_, url):
            exporter.clear()
            for content in (picture("red"), b"no image"):
                httpx.post(f"{url}/predict", files={"image": content}, headers={"traceparent": TRACE}, timeout=PATIENCE)
            wait_until(lambda: len(exporter.get_finished_spans()) >= 6)
            yield exporter.get_finished_spans()


def test_a_request_is_a_span_of_the_trace_that_it_came_with(spans: tuple[ReadableSpan, ...]) -> None:
    request = next(span for span in spans if span.kind == SpanKind.SERVER)
    assert request.name == "POST /predict"
    assert request.context
    assert format(request.context.trace_id, "032x") == TRACE.split("-")[1]
    assert request.parent
    assert format(request.parent.span_id, "016x") == TRACE.split("-")[2]
    assert request.attributes
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["convsmith.model"] == "model"


def test_its_stages_are_spans_within_it_one_after_the_other(spans: tuple[ReadableSpan, ...]) -> None:
    request = next(span for span in spans if span.kind == SpanKind.SERVER)
    assert request.context
    stages = [it for it in spans if it.parent and it.parent.span_id == request.context.span_id]
    assert [span.name for span in stages] == ["queue", "preprocess", "inference", "answer"]
    slack = 5_000_000  # nanoseconds between two clocks
    times = [request.start_time, *(t for it in stages for t in (it.start_time, it.end_time)), request.end_time]
    known = [time for time in times if time is not None]
    assert len(known) == 10
    assert all(later >= earlier - slack for earlier, later in pairwise(known))


def test_a_refused_image_is_no_fault_of_the_server(spans: tuple[ReadableSpan, ...]) -> None:
    refused = [span for span in spans if span.kind == SpanKind.SERVER][1]
    assert refused.attributes
    assert refused.attributes["http.response.status_code"] == 415
    assert refused.status.status_code == StatusCode.UNSET


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "a"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_nothing_is_traced_unless_the_environment_asks_for_it(environment: dict[str, str]) -> None:
    assert tracing_wanted(environment) is None


def test_the_console_can_be_asked_for() -> None:
    found = tracing_wanted({"OTEL_TRACES_EXPORTER": "console"})
    assert found
    found.close()


def test_an_exporter_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match="OTEL_TRACES_EXPORTER is `zipkin`"):
        tracing_wanted({"OTEL_TRACES_EXPORTER": "zipkin"})


def test_a_package_that_is_missing_is_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    assert tracing.tracing_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) is None
    assert "convsmith[otel]" in caplog.text
