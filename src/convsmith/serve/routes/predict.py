"""`POST /predict`: the images of a request, answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Union

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, Field, create_model

from convsmith.bundle.task import Task, find_task
from convsmith.bundle.tasks import list_tasks
from convsmith.serve.answers import JSON, renderer
from convsmith.serve.asked import Asked
from convsmith.serve.encoded import EncodedImage, LinkedImage, SeveralImages
from convsmith.serve.problems import ErrorBody, Problem
from convsmith.serve.request_record import client_of
from convsmith.serve.schemas import schema_of
from convsmith.serve.sent import Sent
from convsmith.serve.service import Left, Render, Service
from convsmith.serve.upload import BYTES, client_watched, uploaded_images

AT_ONCE = 8  # images of one request that wait or run; as many as may be, they would keep others out

_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {
        "image": {
            "anyOf": [_BINARY, {"type": "array", "items": _BINARY, "minItems": 1}],
            "description": "One file, or several fields of this name; `file` is understood too.",
        }
    },
    "required": ["image"],
    "additionalProperties": False,
}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "the upload was broken off"},
    403: {"model": ErrorBody, "description": "an address from which no image may be fetched"},
    404: {"model": ErrorBody, "description": "no such model"},
    406: {"model": ErrorBody, "description": "a mask is JSON, PNG or JPEG, and Accept names none of them"},
    408: {"model": ErrorBody, "description": "the upload took too long"},
    413: {"model": ErrorBody, "description": "too many bytes or pixels"},
    415: {"model": ErrorBody, "description": "not a readable image"},
    422: {"model": ErrorBody, "description": "no image in the request, or something that is not understood"},
    500: {"model": ErrorBody, "description": "the model gives no finite answer for this image, or a fault"},
    503: {"model": ErrorBody, "description": "not ready, or too many requests; see Retry-After"},
}


class ImageProblem(ErrorBody):
    """Why one of several images has no answer."""

    status: int = Field(description="That of a request with this image alone.")


class NamedProblem(BaseModel):
    """One of several images that has no answer."""

    name: str
    error: ImageProblem


def add(app: FastAPI, service: Service) -> None:
    """Let `app` answer images."""
    tasks = [find_task(name) for name in list_tasks()]

    @app.post(
        "/predict",
        response_model=None,
        responses={
            200: {
                "model": Union[(*(task.schema for task in tasks), _several(tasks))],  # as many as there are
                "content": {kind: {} for task in tasks for kind in task.pictures},
                "description": "JSON; of segmentation, by Accept, also a PNG of the classes or a JPEG that shows them; "
                "of several images JSON, with their names and answers in order",
            },
            **ERRORS,
        },
        openapi_extra={"requestBody": {"required": True, "content": bodies()}},
    )
    async def predict(
        request: Request,
        top: Annotated[int | None, Query(ge=1, description="Classes listed; by default 5, or all of a mask.")] = None,
        model: Annotated[str | None, Query(description="Which model is asked; by default the first.")] = None,
        version: Annotated[str | None, Query(description="Which version of it; by default its usual one.")] = None,
    ) -> Response:
        """Predict one image or several: its class, or the class of each pixel."""
        found, bundle = await service.find(model, version)
        client = client_of(request.scope)
        accept = request.headers.get("accept", "")
        render = renderer(bundle.task, accept, top)
        async with uploaded_images(request, service) as (sent, is_list), client_watched(request) as left:
            if is_list:
                render = renderer(bundle.task, accept, top, named=True)
            with service.admitted():
                if is_list:
                    return await _answer_all(sent, Asked(found, bundle, client), service, left, render)
                return await service.ask_file(Asked(found, bundle, client), sent[0].opened(), left, render)


async def _answer_all(sent: Sequence[Sent], question: Asked, service: Service, left: Left, render: Render) -> Response:
    """Ask the question about each image, a few at a time; one without an answer costs no other."""
    some = asyncio.Semaphore(AT_ONCE)

    async def answer(it: Sent) -> bytes:
        try:
            async with some:
                asked = replace(question, name=it.name, seconds={}, starts={})
                return bytes((await service.ask_file(asked, it.opened(), left, render)).body)
        except Problem as problem:
            error = ImageProblem(status=problem.status, **problem.body.model_dump())
            return NamedProblem(name=it.name, error=error).model_dump_json().encode()

    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(answer(it)) for it in sent]
    return Response(b'{"predictions":[%b]}' % b",".join(it.result() for it in answers), media_type=JSON)


def _several(tasks: Sequence[Task]) -> type[BaseModel]:
    """The shape of the answer to several images."""
    named = [create_model(f"Named{task.schema.__name__}", __base__=task.schema, name=(str, ...)) for task in tasks]
    entry: Any = Union[(*named, NamedProblem)]  # as many as there are
    return create_model("Predictions", predictions=(list[entry], ...), __doc__="What is said of each image, in order.")


def bodies() -> dict[str, Any]:
    """The kinds of body that are understood."""
    encoded = [schema_of(it) for it in (EncodedImage, LinkedImage, SeveralImages)]
    return {
        "multipart/form-data": {"schema": _FORM},
        JSON: {"schema": {"oneOf": encoded}},
        **{kind: {"schema": _BINARY} for kind in (BYTES, "image/*")},
    }
