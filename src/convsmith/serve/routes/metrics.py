"""`GET /metrics`: what Prometheus asks for."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from convsmith.serve.metrics import Metrics
from convsmith.serve.service import Service


def add(app: FastAPI, _: Service) -> None:
    """Let `app` show its numbers."""
    metrics: Metrics = app.state.metrics
    forms = {
        "text/plain": {"schema": {"type": "string"}},
        "application/openmetrics-text": {"schema": {"type": "string"}},
    }

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics", response_class=Response, responses={200: {"content": forms, "description": "all numbers"}})
    async def show_metrics(request: Request) -> Response:
        """The numbers of this server, as Prometheus or OpenMetrics text by `Accept`."""
        content, kind = await run_in_threadpool(metrics.show, request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": kind})
