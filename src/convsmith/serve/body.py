"""The body of a request as it comes in: no more of it and for no longer than is allowed, on disk where it is large."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from convsmith.serve.problems import Problem
from convsmith.serve.uploads import Pace, Uploads

UPLOAD = Pace(grace=10, rate=1_000, most=60)
IN_MEMORY = 2**20  # bytes of a request; the rest lies in a temporary file


@asynccontextmanager
async def incoming(request: Request, max_bytes: int, uploads: Uploads) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The body of a request in chunks, for a block that writes them somewhere.

    Raises:
        Problem: 413 more than `max_bytes`, 408 it comes too slowly, 415 it is compressed, 503 there is no room for it.
    """
    if (coding := request.headers.get("content-encoding", "identity")) != "identity":
        raise Problem(415, "the body is compressed", f"Content-Encoding is `{coding}`", "Send it as it is.")
    try:
        if int(request.headers.get("content-length", 0)) > max_bytes:
            raise _too_large(max_bytes)
        async with uploads.paced(request.receive, UPLOAD) as receive:
            limited = Request(request.scope, _limited(receive, max_bytes))
            async with aclosing(limited.stream()) as stream:
                yield stream
    except TimeoutError as error:
        why = f"at least {UPLOAD.rate:.0f} bytes a second and at most {UPLOAD.most:.0f} seconds are allowed"
        raise Problem(408, "the upload took too long", why, "Try again.", {"Connection": "close"}) from error
    except ClientDisconnect as error:
        raise Problem(400, "the upload was broken off") from error  # the client has gone
    except OSError as error:
        why = f"the server's folder for temporary files: {error.strerror or error}"
        raise Problem(503, "there is no room for the upload", why, "Try again later.", {"Retry-After": "10"}) from error


async def read_body(request: Request, max_bytes: int, uploads: Uploads) -> UploadFile:
    """The whole body of a request, wound back; raises as `incoming` does."""
    spool = new_spool(memory_for(max_bytes))
    try:
        async with incoming(request, max_bytes, uploads) as stream:
            async for chunk in stream:
                await spool.write(chunk)
    except BaseException:
        await spool.close()
        raise
    await spool.seek(0)
    return spool


def new_spool(memory: int) -> UploadFile:
    """An empty file, which lies in memory up to so many bytes."""
    file = tempfile.SpooledTemporaryFile(max(1, memory))  # noqa: SIM115  # 0 would be as many as there are
    return UploadFile(cast("BinaryIO", file), size=0)


def memory_for(max_bytes: int) -> int:
    """How many bytes may lie in memory; all of them where there is no folder for temporary files."""
    try:
        return IN_MEMORY if tempfile.gettempdir() else max_bytes
    except FileNotFoundError:
        return max_bytes


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
