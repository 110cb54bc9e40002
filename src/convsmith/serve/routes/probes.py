"""`GET /healthz`, `/readyz` and `/openapi.json`: what machines ask before they ask for predictions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

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


class BrokenModel(BaseModel):
    """A model that cannot be loaded, or not any more: an earlier one of its name and version may still answer."""

    name: str
    version: str
    error: str


class Ready(Status):
    """The answer of a server that takes predictions: where its first model runs, and all that it answers with."""

    runtime: str | None = None
    device: str | None = None
    provider: str | None = None
    models: list[ReadyModel]
    broken: list[BrokenModel] | None = Field(None, description="Those that cannot be loaded, if there are any.")


def add(app: FastAPI, service: Service) -> None:
    """Let `app` say how it is and what it understands."""

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", responses=_NOT_READY)
    async def healthz() -> Status:
        """Whether the process is alive and can become ready."""
        service.check_alive()
        return Status(status="alive")

    @app.head("/readyz", include_in_schema=False, response_model_exclude_none=True)
    @app.get("/readyz", responses=_NOT_READY, response_model_exclude_none=True)
    async def readyz() -> Ready:
        """Whether the models are loaded, have run, and take requests; and where they run."""
        service.check_ready()
        models = [
            ReadyModel(name=model.name, version=model.version, **asdict(model.bundle.place))
            for model in service.models
            if model.bundle and model.bundle.place
        ]
        broken = [
            BrokenModel(name=model.name, version=model.version, error=str(model.failure))
            for model in service.models
            if model.failure
        ]
        first = models[0].model_dump(exclude={"name", "version"}) if models else {}
        return Ready(status="ready", **first, models=models, broken=broken or None)

    @app.head("/openapi.json", include_in_schema=False)
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        """The protocols that this server understands."""
        return app.openapi()
