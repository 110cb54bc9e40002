"""Takes the image out of a multipart request, never keeping more of it than is allowed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from convsmith.errors import did_you_mean
from convsmith.serve.problems import Problem
from convsmith.serve.query import query_names
from convsmith.serve.uploads import Pace, Uploads

FIELDS = ("image", "file")
UPLOAD = Pace(grace=10, rate=1_000, most=60)
EXAMPLE = "Send it as curl -F image=@photo.jpg does."


@asynccontextmanager
async def uploaded_image(request: Request, max_bytes: int, uploads: Uploads) -> AsyncIterator[BinaryIO]:
    """The file in the field `image` (or `file`) of a multipart request; it lies on disk where it is large.

    Raises:
        Problem: 413 more than `max_bytes`, 422 no such file in the request or something else beside it, 408 it
            comes too slowly, 503 there is no room for it.
    """
    form = await _read_form(request, max_bytes, uploads)
    try:
        yield _only_image(form, query_names(request)).file
    finally:
        await form.close()


def _only_image(form: FormData, queries: Collection[str]) -> UploadFile:
    """The one file of a form that has no other field; `queries` are the parameters that the address may have."""
    fields = form.multi_items()
    for name, _ in fields:
        if name not in FIELDS:
            meant = did_you_mean(name, FIELDS)
            fix = f"Put it into the address: /predict?{name}=..." if name in queries else EXAMPLE
            raise Problem(422, f"there is no form field `{name}`{meant}", "a form holds one image and no more", fix)
    if len(fields) > 1:
        raise Problem(422, f"there are {len(fields)} images in the request", "it may have one", EXAMPLE)
    if not fields or not isinstance(upload := fields[0][1], UploadFile):
        found = "the field is text, not a file" if fields else "the form is empty"
        raise Problem(422, "no image in the request", found, EXAMPLE)
    return upload


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


async def _read_form(request: Request, max_bytes: int, uploads: Uploads) -> FormData:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(422, "no image in the request", "the body is not multipart/form-data", EXAMPLE)
    try:
        if int(request.headers.get("content-length", 0)) > max_bytes:
            raise _too_large(max_bytes)
        async with uploads.paced(request.receive, UPLOAD) as receive:
            limited = Request(request.scope, _limited(receive, max_bytes))
            async with aclosing(limited.stream()) as stream:
                parser = MultiPartParser(request.headers, stream, max_files=10, max_fields=10)
                if not _disk_is_there():
                    parser.spool_max_size = max_bytes
                return await parser.parse()
    except TimeoutError as error:
        why = f"at least {UPLOAD.rate:.0f} bytes a second and at most {UPLOAD.most:.0f} seconds are allowed"
        raise Problem(408, "the upload took too long", why, "Try again.", {"Connection": "close"}) from error
    except ClientDisconnect as error:
        raise Problem(400, "the upload was broken off") from error  # the client has gone
    except OSError as error:
        why = f"the server's folder for temporary files: {error.strerror or error}"
        raise Problem(503, "there is no room for the upload", why, "Try again later.", {"Retry-After": "10"}) from error
    except MultiPartException as error:
        raise Problem(422, "the form cannot be read", error.message, EXAMPLE) from error
    except ValueError as error:  # an unknown charset, a length that is not a number
        raise Problem(422, "the form cannot be read", str(error), EXAMPLE) from error


def _disk_is_there() -> bool:
    """Whether large uploads can lie in a temporary file; where all is read-only they stay in memory."""
    try:
        return bool(tempfile.gettempdir())
    except FileNotFoundError:
        return False


def _limited(receive: Receive, max_bytes: int) -> Receive:
    """`receive` that ends the request as soon as its body, announced or in chunks, has become too large."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise _too_large(max_bytes)
        return message

    return counted


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, "the request is too large", f"{max_bytes} bytes are allowed", "Scale the image down first.")
