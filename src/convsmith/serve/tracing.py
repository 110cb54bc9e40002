"""OpenTelemetry: a span for each request and one for each of its stages. Needs the extra `otel`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from convsmith.errors import ConvsmithError
from convsmith.serve.request_record import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

_ASKS_FOR_SPANS = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing:
    """Makes spans of the records of requests, each once it has ended.

    Args:
        processor: takes the spans. That of the SDK for batches never waits: spans beyond its queue are lost.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider

        name = os.environ.get("OTEL_SERVICE_NAME", "convsmith")
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("convsmith.serve")

    def trace(self, record: RequestRecord) -> None:
        """Make the spans of a request: its own, part of the trace that it came with, and below it those of stages."""
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = {"traceparent": record.traceparent} if record.traceparent else {}
        span = self._tracer.start_span(
            f"{record.method} {record.route}".strip() or "not HTTP",
            TraceContextTextMapPropagator().extract(given),
            SpanKind.SERVER,
            _attributes(record),
            start_time=record.began,
        )
        if record.status >= 500:
            span.set_status(StatusCode.ERROR)
        self._trace_stages(record, set_span_in_context(span))
        span.end(record.began + round(record.seconds * 1e9))

    def _trace_stages(self, record: RequestRecord, parent: Context) -> None:
        now, ticks = time.time_ns(), time.perf_counter()
        for asked in record.asked:
            for stage, seconds in asked.seconds.items():
                if stage not in asked.starts:
                    continue
                start = now - round((ticks - asked.starts[stage]) * 1e9)
                span: Span = self._tracer.start_span(
                    stage, parent, attributes={"convsmith.batch": asked.batch}, start_time=start
                )
                span.end(start + round(seconds * 1e9))

    def close(self) -> None:
        """Send what is left; may wait for the network."""
        self._provider.shutdown()


def _attributes(record: RequestRecord) -> dict[str, str | int]:
    model = record.model
    return {
        "http.request.method": record.method,
        "http.route": record.route,
        "http.response.status_code": record.status,
        "http.request.body.size": record.received,
        "http.response.body.size": record.sent,
        "client.address": record.client,
        "convsmith.request_id": record.id,
        **({"convsmith.model": model.name, "convsmith.version": model.version} if model else {}),
    }


def tracing_wanted(environment: Mapping[str, str] = os.environ) -> Tracing | None:
    """The spans that the variables OTEL_* of the environment ask for: for a collector, or on the console; None: none.

    Raises:
        ConvsmithError: there is no such exporter.
    """
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    wanted = any(environment.get(name) for name in _ASKS_FOR_SPANS) and exporter != "none"
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if exporter not in ("otlp", "console"):
        raise ConvsmithError(f"OTEL_TRACES_EXPORTER is `{exporter}`", "spans go to `otlp`, `console` or `none`")
    try:
        return Tracing(_processor(exporter))
    except ModuleNotFoundError as error:  # an operator may set the variables in every container
        logger.warning("OTEL_* ask for spans, and there are none: %s is missing, which convsmith[otel] has", error.name)
        return None


def _processor(exporter: str) -> SpanProcessor:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    if exporter == "console":
        return BatchSpanProcessor(ConsoleSpanExporter())
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return BatchSpanProcessor(OTLPSpanExporter())
