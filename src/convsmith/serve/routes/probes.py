"""`GET /healthz`, `/readyz` and `/openapi.json`: what machines ask before they ask for predictions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from convsmith.serve.problems import ErrorBody
from convsmith.serve.service import Service

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": ErrorBody, "description": "not ready; see Retry-After"}}


class Status(BaseModel):
    """The answer of a process that is alive."""

    status: str


class ReadyModel(BaseModel):
    """A model that takes predictions, and the place that it runs on."""

    name: str
    version: str
    runtime: str
    device: str
    provider: str


class Ready(Status):
    """The answer of a server that takes predictions: where its first model runs, and all that it answers with."""

    runtime: str
    device: str
    provider: str
    models: list[ReadyModel]


def add(app: FastAPI, service: Service) -> None:
    """Let `app` say how it is and what it understands."""

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", responses=_NOT_READY)
    async def healthz() -> Status:
        """Whether the process is alive and can become ready."""
        service.check_alive()
        return Status(status="alive")

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", responses=_NOT_READY)
    async def readyz() -> Ready:
        """Whether the models are loaded, have run, and take requests; and where they run."""
        service.check_ready()
        models = [
            ReadyModel(name=model.name, version=model.version, **asdict(model.bundle.place))
            for model in service.models
            if model.bundle and model.bundle.place
        ]
        first = models[0].model_dump(exclude={"name", "version"})
        return Ready(status="ready", **first, models=models)

    @app.head("/openapi.json", include_in_schema=False)
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        """The protocols that this server understands."""
        return app.openapi()
