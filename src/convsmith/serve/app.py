"""The HTTP interface: `POST /predict`, `GET /healthz`, `GET /readyz`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Union

from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel

from convsmith.bundle.images.budget import served_pixels
from convsmith.bundle.open_runtime import check_place
from convsmith.bundle.predictor import load
from convsmith.bundle.task import find_task
from convsmith.bundle.tasks import list_tasks
from convsmith.serve.answers import answer
from convsmith.serve.exchange import Exchange
from convsmith.serve.problems import ErrorBody, answer_problems_as_json
from convsmith.serve.query import refuse_unknown_query
from convsmith.serve.service import Service, share_cores
from convsmith.serve.upload import uploaded_image

MEGABYTE = 1_000_000
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


class Status(BaseModel):
    """The answer of a process that is alive."""

    status: str


class Ready(Status):
    """The answer of a server that takes predictions, with the place that its model runs on."""

    runtime: str
    device: str
    provider: str


def create_app(
    bundle_path: Path,
    *,
    max_bytes: int = 20 * MEGABYTE,
    workers: int | None = None,
    threads: int | None = None,
    max_waiting: int = 64,
    max_pixels: int | None = None,
    device: str = "auto",
    runtime: str | None = None,
) -> FastAPI:
    """An ASGI application that serves a bundle; it loads while it already answers `/healthz`.

    Args:
        bundle_path: the bundle's folder.
        max_bytes: largest request body.
        workers: images decoded and predicted at the same time; None: at most 4, by the cores.
        threads: threads of the model for each; None: the cores divided by the workers.
        max_waiting: further requests that may wait; others are answered 503.
        max_pixels: largest image; None: 25 million pixels, or what CONVSMITH_MAX_PIXELS says.
        device: what the model runs on, as `load` takes it.
        runtime: what runs it, likewise.

    Raises:
        ConvsmithError: workers and threads need more cores than there are, so many pixels are never decoded, or no
            device or runtime is called so.
    """
    check_place(runtime, device)
    workers, threads = share_cores(workers, threads)
    service = Service(
        lambda: load(bundle_path, threads, runtime, device),
        workers,
        max_waiting=max_waiting,
        max_pixels=served_pixels(max_pixels),
    )
    tasks = [find_task(name) for name in list_tasks()]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = service.start_loading()
        yield
        service.close()
        await loading

    app = FastAPI(
        title="convsmith",
        version=version("convsmith"),
        lifespan=lifespan,
        dependencies=[Depends(refuse_unknown_query)],
        redirect_slashes=False,  # a redirect would lead to whatever the request's Host says
        openapi_url=None,  # FastAPI's own route would take any query; and the pages of /docs come from another host
    )
    app.state.service = service
    app.add_middleware(Exchange, service=service)
    answer_problems_as_json(app)

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
        accept = request.headers.get("accept", "")
        bundle = service.loaded()
        async with uploaded_image(request, max_bytes, service.uploads) as file:
            with service.admitted():
                return await service.run(file, request, lambda content: answer(bundle, content, accept, top))

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", responses={503: _ERRORS[503]})
    async def healthz() -> Status:
        """Whether the process is alive and can become ready."""
        service.check_alive()
        return Status(status="alive")

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", responses={503: _ERRORS[503]})
    async def readyz() -> Ready:
        """Whether the model is loaded, has run, and takes requests; and where it runs."""
        place = service.ready().place
        assert place is not None
        return Ready(status="ready", **asdict(place))

    @app.head("/openapi.json", include_in_schema=False)
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        """The protocols that this server understands."""
        return app.openapi()

    return app
