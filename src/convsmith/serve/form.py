"""The images of a multipart form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from convsmith.errors import did_you_mean
from convsmith.serve.body import incoming, memory_for
from convsmith.serve.problems import Problem
from convsmith.serve.query import query_names
from convsmith.serve.sent import EXAMPLE, Sent, check_number
from convsmith.serve.service import Service

FIELDS = ("image", "file")


@asynccontextmanager
async def form_images(request: Request, service: Service) -> AsyncIterator[list[Sent]]:
    """The files in the fields `image` (or `file`) of a multipart request; they lie on disk where they are large.

    Raises:
        Problem: 422 no such file in the request or something else beside it; and as `incoming` does.
    """
    form = await _read_form(request, service)
    try:
        yield _only_images(form, query_names(request))
    finally:
        await form.close()


def _only_images(form: FormData, queries: Collection[str]) -> list[Sent]:
    """The files of a form that has no other field; `queries` are the parameters that the address may have."""
    sent, fields = list[Sent](), form.multi_items()
    for name, value in fields:
        if name not in FIELDS:
            meant = did_you_mean(name, FIELDS)
            fix = f"Put it into the address: /predict?{name}=..." if name in queries else EXAMPLE
            raise Problem(422, f"there is no form field `{name}`{meant}", "a form holds images and no more", fix)
        if not isinstance(value, UploadFile):
            raise Problem(422, "no image in the request", "the field is text, not a file", EXAMPLE)
        sent.append(Sent.named(value.filename or "", len(sent), value.file))
    if not sent:
        raise Problem(422, "no image in the request", "the form is empty", EXAMPLE)
    return sent


async def _read_form(request: Request, service: Service) -> FormData:
    settings = service.settings
    try:
        async with incoming(request, settings.max_bytes, service.uploads) as stream:
            parser = _Parser(request.headers, stream, max_files=settings.max_images, max_fields=10)
            parser.memory = memory_for(settings.max_bytes)
            return await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            check_number(settings.max_images + 1, settings.max_images)
        raise Problem(422, "the form cannot be read", error.message, EXAMPLE) from error
    except ValueError as error:  # an unknown charset, a length that is not a number
        raise Problem(422, "the form cannot be read", str(error), EXAMPLE) from error


class _Parser(MultiPartParser):
    """Keeps so many bytes in memory of all files together; the others lie in temporary files."""

    memory = 0

    def on_headers_finished(self) -> None:
        held = sum(it.size or 0 for _, it in self.items if isinstance(it, UploadFile) and it._in_memory)
        self.spool_max_size = max(1, self.memory - held)  # as in `new_spool`
        super().on_headers_finished()
