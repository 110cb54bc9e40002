"""`POST /predict`: the image of a form, answered."""

from __future__ import annotations

from typing import Annotated, Any, Union

from fastapi import FastAPI, Query, Request, Response

from convsmith.bundle.task import find_task
from convsmith.bundle.tasks import list_tasks
from convsmith.serve.answers import renderer
from convsmith.serve.asked import Asked
from convsmith.serve.problems import ErrorBody
from convsmith.serve.service import Service
from convsmith.serve.upload import client_watched, uploaded_image

_FORM = {
    "type": "object",
    "properties": {"image": {"type": "string", "format": "binary", "description": "`file` is understood too"}},
    "required": ["image"],
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    406: {"model": ErrorBody, "description": "a mask is JSON, PNG or JPEG, and Accept names none of them"},
    408: {"model": ErrorBody, "description": "the upload took too long"},
    413: {"model": ErrorBody, "description": "too many bytes or pixels"},
    415: {"model": ErrorBody, "description": "not a readable image"},
    422: {"model": ErrorBody, "description": "no image in the request, or something that is not understood"},
    500: {"model": ErrorBody, "description": "the model gives no finite answer for this image, or a fault"},
    503: {"model": ErrorBody, "description": "not ready, or too many requests; see Retry-After"},
}


def add(app: FastAPI, service: Service) -> None:
    """Let `app` answer images."""
    tasks = [find_task(name) for name in list_tasks()]

    @app.post(
        "/predict",
        response_model=None,
        responses={
            200: {
                "model": Union[tuple(task.schema for task in tasks)],  # noqa: UP007  # there are as many as are found
                "content": {kind: {} for task in tasks for kind in task.pictures},
                "description": "JSON; of segmentation, by Accept, also a PNG of the classes or a JPEG that shows them",
            },
            **_ERRORS,
        },
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
    )
    async def predict(
        request: Request,
        top: Annotated[int | None, Query(ge=1, description="Classes listed; by default 5, or all of a mask.")] = None,
    ) -> Response:
        """Predict the image in the multipart field `image`: its class, or the class of each pixel."""
        model = service.find()
        bundle, client = model.loaded(), request.client.host if request.client else ""
        render = renderer(bundle.task, request.headers.get("accept", ""), top)
        async with (
            uploaded_image(request, service.settings.max_bytes, service.uploads) as file,
            client_watched(request) as left,
        ):
            with service.admitted():
                return await service.ask_file(Asked(model, bundle, client), file, left, render)
