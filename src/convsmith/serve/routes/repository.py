"""`/v2/repository`: which models there are, and loading and unloading them, as Triton has it."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from convsmith.complaints import first_problem
from convsmith.serve.body import read_body
from convsmith.serve.encoded import load_json
from convsmith.serve.models import Model
from convsmith.serve.problems import Problem, ProtocolError
from convsmith.serve.schemas import schema_of
from convsmith.serve.service import Service

M = TypeVar("M", bound=BaseModel)

_MOST_BYTES, _MOST_VALUES = 10_000, 100
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ProtocolError, "description": "the model cannot be loaded, or the body is not understood"},
    403: {"model": ProtocolError, "description": "the server was started without --control"},
    404: {"model": ProtocolError, "description": "no such model"},
    408: {"model": ProtocolError, "description": "the upload took too long"},
    413: {"model": ProtocolError, "description": "too many bytes"},
    415: {"model": ProtocolError, "description": "the body is compressed"},
}


class Indexed(BaseModel):
    """A version of a model, and whether it answers."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str


class Asking(BaseModel):
    """The body of a question for the index."""

    model_config = ConfigDict(extra="forbid", strict=True)
    ready: bool = False


class Parameters(BaseModel):
    """The parameters of loading and unloading, which change nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)
    unload_dependents: bool = False


class Wish(BaseModel):
    """The body of a request to load or unload a model."""

    model_config = ConfigDict(extra="forbid", strict=True)
    parameters: Parameters = Parameters()


def add(app: FastAPI, service: Service) -> None:
    """Let `app` say which models there are, and load and unload them where it may."""

    @app.post("/v2/repository/index", responses=_only(400, 408, 413, 415), openapi_extra=_body(Asking))
    async def index(request: Request) -> list[Indexed]:
        """All versions of all models; with `{"ready": true}` those that answer."""
        asking = await _read(request, service, Asking)
        return index_of(service, ready=asking.ready)

    @app.post("/v2/repository/models/{name}/load", responses=_ERRORS, openapi_extra=_body(Wish))
    async def load(request: Request, name: str) -> dict[str, Any]:
        """Load all versions of a model, anew where they are in memory; what they answer meanwhile is not lost."""
        check_control(service)
        await _read(request, service, Wish)
        await load_all(service, name)
        return {}

    @app.post("/v2/repository/models/{name}/unload", responses=_ERRORS, openapi_extra=_body(Wish))
    async def unload(request: Request, name: str) -> dict[str, Any]:
        """Put all versions of a model out of memory; requests that are being answered keep theirs."""
        check_control(service)
        await _read(request, service, Wish)
        await service.unload(name)
        return {}


async def load_all(service: Service, name: str) -> None:
    """Load all versions of a model, anew where they are in memory; a `Problem` of status 400 if one cannot be."""
    for model in await service.load(name):
        if model.failure:
            raise Problem(400, f"version {model.version} of `{name}` cannot be loaded", str(model.failure))


def index_of(service: Service, *, ready: bool) -> list[Indexed]:
    """A line for each version of each model; with `ready`, for those that answer."""
    found = [_indexed(model) for model in service.models]
    return [it for it in found if it.state == "READY" or not ready]


def _indexed(model: Model) -> Indexed:
    state: Literal["READY", "LOADING", "UNAVAILABLE"] = "READY" if model.usable else "LOADING"
    reason = str(model.failure or ("not in memory: loaded when it is asked" if model.asleep else ""))
    if state != "READY" and (model.failure or model.unloaded):
        state, reason = "UNAVAILABLE", reason or "unloaded"
    return Indexed(name=model.name, version=model.version, state=state, reason=reason)


def check_control(service: Service) -> None:
    """Raise a `Problem` of status 403 unless clients may load and unload models."""
    if not service.settings.control:
        why = "this server was started without --control"
        raise Problem(403, "models are not loaded and unloaded by clients", why, "Start it with --control.")


async def _read(request: Request, service: Service, kind: type[M]) -> M:
    body = await read_body(request, _MOST_BYTES, service.uploads)
    try:
        content = body.file.read()
    finally:
        await body.close()
    try:
        return kind.model_validate(load_json(content, _MOST_VALUES) if content.strip() else {})
    except ValidationError as error:
        raise Problem(400, "the body is not understood", first_problem(error, kind)) from error
    except ValueError as error:
        raise Problem(400, "the body is not JSON", str(error)) from error


def _only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _ERRORS[status] for status in statuses}


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": schema_of(kind)}}}}
