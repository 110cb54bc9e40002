"""The application as its clients meet it: what is around all that answers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from convsmith.serve.access_log import log_request
from convsmith.serve.browsers import with_origins
from convsmith.serve.guard import describe_guards
from convsmith.serve.metrics import Metrics
from convsmith.serve.recorder import Recorder, note, recorded
from convsmith.serve.request_record import RequestRecord
from convsmith.serve.sampling import sampler_of
from convsmith.serve.service import Service
from convsmith.serve.tracing import tracing_wanted


class Application(FastAPI):
    """A FastAPI application no answer of which goes unrecorded, not even that to a fault of its own.

    Args:
        service: what answers.
        given: the arguments of FastAPI.

    Its `state` has the `service`, the `metrics`, and the `record_watchers`, which are called with each record.
    """

    def __init__(self, service: Service, **given: Any) -> None:
        super().__init__(**given)
        self.state.service, self.state.metrics = service, Metrics(service)
        self.state.record_watchers = [self.state.metrics.count_request, log_request(service.settings.access_log)]
        if sampler := sampler_of(service.settings, self.state.metrics.count_sample):
            service.watchers.append(sampler.watch)
            service.closers.append(sampler.close)
        if tracing := tracing_wanted():
            self.state.record_watchers.append(tracing.trace)
            service.closers.append(tracing.close)
        service.watchers.append(note)

    def openapi(self) -> dict[str, Any]:
        """The protocols that this server understands."""
        if self.openapi_schema is None:
            describe_guards(super().openapi(), self.state.service.settings)
        return super().openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, knowing what a proxy has taken away of the address."""
        scope["root_path"] = scope.get("root_path") or self.state.service.settings.root_path
        await super().__call__(scope, receive, send)

    def recorded(self, record: RequestRecord) -> AbstractContextManager[None]:
        """A block in which a request that comes otherwise than over HTTP is answered."""
        metrics: Metrics = self.state.metrics
        return recorded(record, metrics.families.in_flight.inc, self.state.record_watchers)

    def build_middleware_stack(self) -> ASGIApp:
        """Called once, at the first request: middleware that is added to an application would not see its faults."""
        metrics: Metrics = self.state.metrics
        app = with_origins(super().build_middleware_stack(), self.state.service.settings.cors_origins)
        return Recorder(app, metrics.families.in_flight.inc, self.state.record_watchers)
