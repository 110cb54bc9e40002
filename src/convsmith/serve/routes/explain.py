"""`POST /explain`: where a model found what speaks for a class, as a picture."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.cam import WHY_NONE
from convsmith.bundle.heat import overlay
from convsmith.bundle.images.decode import for_eyes
from convsmith.serve.asked import Asked
from convsmith.serve.problems import Problem
from convsmith.serve.request_record import client_of
from convsmith.serve.routes.predict import ERRORS, bodies
from convsmith.serve.service import Service
from convsmith.serve.upload import client_watched, uploaded_images

_PNG = "image/png"


def add(app: FastAPI, service: Service) -> None:
    """Let `app` show where models look."""

    @app.post(
        "/explain",
        response_class=Response,
        responses={
            200: {"content": {_PNG: {}}, "description": "what the model saw, under the colours of the heat"},
            **{status: it for status, it in ERRORS.items() if status != 406},
        },
        openapi_extra={"requestBody": {"required": True, "content": bodies()}},
    )
    async def explain(
        request: Request,
        class_id: Annotated[int | None, Query(ge=0, description="The class; by default the predicted one.")] = None,
        model: Annotated[str | None, Query(description="Which model is asked; by default the first.")] = None,
        version: Annotated[str | None, Query(description="Which version of it; by default its usual one.")] = None,
    ) -> Response:
        """Show where the model found what speaks for a class of one image: its class activation map."""
        found, bundle = await service.find(model, version)
        cam = await service.aside(service.cams.of, bundle)
        if cam is None:
            raise Problem(404, f"the model `{found.name}` has no map of classes", WHY_NONE)
        if class_id is not None and class_id >= len(bundle.labels):
            raise Problem(422, f"there is no class {class_id}", f"they are 0 to {len(bundle.labels) - 1}")
        asked = Asked(found, bundle, client_of(request.scope))
        async with uploaded_images(request, service) as (sent, is_list), client_watched(request) as left:
            if is_list:
                raise Problem(422, "one image at a time is explained", f"there are {len(sent)}, or a list of them")
            file = sent[0].opened()

            def answer() -> Response:
                with asked.timed("preprocess"):
                    seen = service.read(asked, file)
                heat = service.lanes.run(asked, lambda: cam.heat(seen, class_id, asked.name))
                return Response(_png(seen, heat), media_type=_PNG)

            with service.admitted(), service.watched(asked, file):
                return await service.ask(asked, await service.weigh(asked, file), left, answer)


def _png(seen: NDArray[np.uint8], heat: NDArray[np.float32]) -> bytes:
    """The colours of heat [H, W] over what the model saw, [C, H, W]."""
    pixels = for_eyes(np.ascontiguousarray(seen.transpose(1, 2, 0)))
    content = io.BytesIO()
    Image.fromarray(overlay(np.asarray(pixels), heat)).save(content, "PNG")
    return content.getvalue()
