"""Takes the image out of a multipart request, never keeping more of it than is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from convsmith.serve.problems import Problem

FIELDS = ("image", "file")
UPLOAD_SECONDS = 60
EXAMPLE = "Send it as curl -F image=@photo.jpg does."


@asynccontextmanager
async def uploaded_image(request: Request, max_bytes: int) -> AsyncIterator[BinaryIO]:
    """The file in the field `image` (or `file`) of a multipart request; it lies on disk where it is large.

    Raises:
        Problem: 413 more than `max_bytes`, 422 no such file in the request, 408 it takes more than a minute.
    """
    form = await _read_form(request, max_bytes)
    try:
        upload = next((form[name] for name in FIELDS if name in form), None)
        if not isinstance(upload, UploadFile):
            found = f"the form has the fields {sorted(form)}" if upload is None else "the field is text, not a file"
            raise Problem(422, "no image in the request", found, EXAMPLE)
        yield upload.file
    finally:
        await form.close()


async def _read_form(request: Request, max_bytes: int) -> FormData:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(422, "no image in the request", "the body is not multipart/form-data", EXAMPLE)
    limited = Request(request.scope, _limited(request.receive, max_bytes))
    try:
        if int(request.headers.get("content-length", 0)) > max_bytes:
            raise _too_large(max_bytes)
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await limited.form(max_files=10, max_fields=10)
    except TimeoutError as error:
        raise Problem(408, "the upload took too long", f"{UPLOAD_SECONDS} seconds are allowed") from error
    except ClientDisconnect as error:
        raise Problem(400, "the upload was broken off") from error  # nobody is left to read this
    except HTTPException as error:
        raise Problem(422, "the form cannot be read", error.detail, EXAMPLE) from error
    except ValueError as error:  # a charset that is none, a length that is no number
        raise Problem(422, "the form cannot be read", str(error), EXAMPLE) from error


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
