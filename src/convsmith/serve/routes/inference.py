"""`/v2`: the Open Inference Protocol, which clients of Triton, KServe and MLServer speak."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from convsmith.bundle.predictor import Bundle
from convsmith.serve.asked import Asked
from convsmith.serve.body import read_body
from convsmith.serve.inference import answer_tensors, inputs_of, outputs_of
from convsmith.serve.inference_json import HEADER, InferAnswer, InferRequest, read_question, write_answer
from convsmith.serve.models import Model
from convsmith.serve.problems import ProtocolError
from convsmith.serve.request_record import client_of
from convsmith.serve.schemas import schema_of
from convsmith.serve.service import Service
from convsmith.serve.tensors import Shape
from convsmith.serve.upload import BYTES, client_watched

EXTENSIONS = ("binary_tensor_data", "classification")
_SAYS = {
    400: "the request is not understood, or does not fit the model",
    404: "no such model",
    408: "the upload took too long",
    413: "too many bytes, pixels or values",
    415: "not a readable image",
    422: "more images than may be sent, or a query",
    500: "the model gives no finite answer, or a fault",
    503: "not ready, or too many requests; see Retry-After",
}


class Server(BaseModel):
    """The server that answers."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the server is alive."""

    live: bool


class ServerReady(BaseModel):
    """Whether the server takes predictions."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model answers."""

    name: str
    ready: bool


class TensorOfModel(BaseModel):
    """A tensor that a model takes or gives; -1 stands for any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelDescription(BaseModel):
    """A model: its versions, and its tensors; a request has one of the inputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorOfModel]
    outputs: list[TensorOfModel]


def add(app: FastAPI, service: Service) -> None:
    """Let `app` speak the protocol."""

    @app.get("/v2")
    async def server() -> Server:
        """The server, and the extensions that it knows."""
        return server_description(service)

    @app.get("/v2/health/live", responses=_errors(503))
    async def live() -> Live:
        """Whether the process is alive and can become ready."""
        service.check_alive()
        return Live(live=True)

    @app.get("/v2/health/ready", responses=_errors(503))
    async def ready() -> ServerReady:
        """Whether the models are loaded and take requests."""
        service.check_ready()
        return ServerReady(ready=True)

    @app.get("/v2/models/{name}/ready", responses=_errors(404, 503))
    @app.get("/v2/models/{name}/versions/{version}/ready", responses=_errors(404, 503))
    async def model_ready(name: str, version: str | None = None) -> ModelReady:
        """Whether a model answers."""
        service.models.find(name, version).check_usable()
        return ModelReady(name=name, ready=True)

    @app.get("/v2/models/{name}", responses=_errors(404, 503))
    @app.get("/v2/models/{name}/versions/{version}", responses=_errors(404, 503))
    async def metadata(name: str, version: str | None = None) -> ModelDescription:
        """The tensors of a model."""
        return described(service, *await service.find(name, version))

    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        app.post(
            path,
            response_model=None,
            responses={200: {"model": InferAnswer, "content": {BYTES: {}}}, **_errors(*_SAYS)},
            openapi_extra={"requestBody": {"required": True, "content": _bodies()}},
        )(_infer(service))


def server_description(service: Service) -> Server:
    """The server, and the extensions of the protocol that it knows."""
    extensions = [*EXTENSIONS, *(["model_repository"] if service.settings.control else [])]
    return Server(name="convsmith", version=installed_version("convsmith"), extensions=extensions)


def described(service: Service, model: Model, bundle: Bundle) -> ModelDescription:
    """A model as its metadata have it."""
    versions = [it.version for it in service.models.versions(model.name) if it.usable]
    runtime = bundle.place.runtime if bundle.place else "onnxruntime"
    return ModelDescription(
        name=model.name,
        versions=versions,
        platform=f"{runtime}_{bundle.manifest.format}",
        inputs=[_of(it) for it in inputs_of(bundle)],
        outputs=[_of(it) for it in outputs_of(bundle)],
    )


def _infer(service: Service) -> Any:
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Answer preprocessed images, or image files, with tensors."""
        model, bundle = await service.find(name, version)
        body = await read_body(request, service.settings.max_bytes, service.uploads)
        try:
            question, binary = await service.aside(lambda: read_question(body.file.read(), request.headers.get(HEADER)))
        finally:
            await body.close()
        asked = Asked(model, bundle, client_of(request.scope), "the image")
        async with client_watched(request) as left:
            with service.admitted():
                outputs = await answer_tensors(service, asked, question, left)
                key = model.name, model.version
                content, headers = await service.aside(write_answer, key, question, outputs, binary)
        return Response(content, headers=headers)

    return infer


def _of(it: Shape) -> TensorOfModel:
    return TensorOfModel(name=it.name, datatype=it.datatype, shape=list(it.shape))


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ProtocolError, "description": _SAYS[status]} for status in statuses}


def _bodies() -> dict[str, Any]:
    return {
        "application/json": {"schema": schema_of(InferRequest)},
        BYTES: {"schema": {"type": "string", "format": "binary"}},
    }
