"""Takes the images out of a request, by the type of its body, never keeping more of it than is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from convsmith.serve.body import read_body
from convsmith.serve.encoded import json_images
from convsmith.serve.form import form_images
from convsmith.serve.problems import Problem
from convsmith.serve.sent import EXAMPLE, Sent
from convsmith.serve.service import Service

BYTES = "application/octet-stream"


@asynccontextmanager
async def uploaded_images(request: Request, service: Service) -> AsyncIterator[tuple[list[Sent], bool]]:
    """The images of a request, of which there is at least one; and whether the answer is to be a list.

    Raises:
        Problem: 422 no image in it or something else beside it; and as `incoming` does.
    """
    kind = request.headers.get("content-type", BYTES).lower().partition(";")[0].strip()
    if kind == "multipart/form-data":
        async with form_images(request, service) as sent:
            yield sent, len(sent) > 1
    elif kind == "application/json":
        async with json_images(request, service) as images:
            yield images
    elif kind == BYTES or kind.startswith("image/"):
        body = await read_body(request, service.settings.max_bytes, service.uploads)
        try:
            if not body.size:
                raise Problem(422, "no image in the request", "the body is empty", EXAMPLE)
            yield [Sent.named("", 0, body.file)], False
        finally:
            await body.close()
    else:
        fix = (
            f"{EXAMPLE} Or name the type of its bytes, as curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg'."
        )
        raise Problem(422, "no image in the request", f"Content-Type is `{kind}`", fix)


@asynccontextmanager
async def client_watched(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """For the block, a future that is done when the client of a request whose body has been read is gone."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    watching = asyncio.create_task(left())
    try:
        yield watching
    finally:
        watching.cancel()
