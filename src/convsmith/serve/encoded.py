"""Images in JSON: base64, or addresses that they are fetched from."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convsmith.complaints import first_problem
from convsmith.serve.body import memory_for, new_spool, read_body
from convsmith.serve.fetch import Budget
from convsmith.serve.problems import Problem
from convsmith.serve.schemas import schema_of
from convsmith.serve.sent import Sent, check_number
from convsmith.serve.service import Service
from convsmith.serve.settings import Settings

M = TypeVar("M", bound=BaseModel)

_HOW = 'Send {"image": BASE64}, or several as {"images": [BASE64, ...]}.'
_LIST_PUNCTUATION, _PUNCTUATION = 100, 1000  # characters that begin or part values: of each image, and besides


class EncodedImage(BaseModel):
    """An image as base64."""

    model_config = ConfigDict(extra="forbid", strict=True)
    image: str = Field(description="Base64, or a `data:` address that holds it.")
    name: str = Field("", description="What the answer calls it, if there are several.")


class LinkedImage(BaseModel):
    """An image at an address that the server may fetch from."""

    model_config = ConfigDict(extra="forbid", strict=True)
    url: str = Field(description="An address that `--allow-urls` allows.")
    name: str = Field("", description="What the answer calls it, if there are several; else its address.")


class SeveralImages(BaseModel):
    """Images that are answered in order; text stands for base64."""

    model_config = ConfigDict(extra="forbid", strict=True)
    images: list[Any] = Field(
        min_length=1,
        json_schema_extra={
            "items": {"anyOf": [{"type": "string"}, *(schema_of(it) for it in (EncodedImage, LinkedImage))]}
        },
    )


@asynccontextmanager
async def json_images(request: Request, service: Service) -> AsyncIterator[tuple[list[Sent], bool]]:
    """The images of a JSON body, and whether it is a list.

    Raises:
        Problem: 422 it is another JSON, or none; and as `incoming` does.
    """
    body = await read_body(request, service.settings.max_bytes, service.uploads)
    try:
        found, is_list = await service.aside(_read, body.file, service.settings)
    finally:
        await body.close()
    budget = Budget(service.settings.max_bytes)
    sent = await asyncio.gather(*(_fetched(it, number, service, budget) for number, it in enumerate(found)))
    try:
        yield sent, is_list
    finally:
        for it in sent:
            if not isinstance(it.file, Problem):
                it.file.close()


def load_json(content: bytes, most_values: int) -> Any:
    """The values of JSON of about so many values at most, which else may take a hundred times its bytes of memory.

    Raises:
        ValueError: it is not JSON, or has more.
    """
    if sum(content.count(it) for it in (b",", b"[", b"{")) > most_values:
        raise ValueError(f"it holds more than {most_values:,} values")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _read(file: BinaryIO, settings: Settings) -> tuple[list[Sent | LinkedImage], bool]:
    """Decode all that is sent at once: while others wait to be read, they take no memory for it."""
    content = file.read()
    if not content.strip():
        raise Problem(422, "no image in the request", "the body is empty", _HOW)
    try:
        value = load_json(content, _PUNCTUATION + _LIST_PUNCTUATION * settings.max_images)
    except ValueError as error:
        raise Problem(422, "the JSON cannot be read", str(error), _HOW) from error
    if not isinstance(value, dict):
        raise Problem(422, "no image in the request", "the JSON is not an object", _HOW)
    images = _validated(SeveralImages, value).images if "images" in value else [value]
    check_number(len(images), settings.max_images)
    entries = [EncodedImage(image=it) if isinstance(it, str) else _entry(it) for it in images]
    memory, decoded = memory_for(settings.max_bytes), list[Sent | LinkedImage]()
    for number, entry in enumerate(entries):
        if isinstance(entry, EncodedImage):
            data = _decoded(entry.image, memory)
            memory -= 0 if isinstance(data, Problem) else data.seek(0, 2)
            decoded.append(Sent.named(entry.name, number, data))
        else:
            decoded.append(entry)
    return decoded, "images" in value


def _entry(value: Any) -> EncodedImage | LinkedImage:
    if isinstance(value, dict) and "url" in value:
        return _validated(LinkedImage, value)
    return _validated(EncodedImage, value)


def _validated(model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Problem(422, "no image in the request", first_problem(error, model), _HOW) from error


def _decoded(text: str, memory: int) -> BinaryIO | Problem:
    data = re.match(r"data:[^,]{0,200};base64,", text)
    try:
        content = base64.b64decode(re.sub(r"\s+", "", text[data.end() :] if data else text), validate=True)
    except ValueError as error:
        return Problem(422, "the image is not base64", str(error), _HOW)
    file = new_spool(memory).file
    file.write(content)
    return file


async def _fetched(it: Sent | LinkedImage, number: int, service: Service, budget: Budget) -> Sent:
    """The content of an image, or why it has none, which costs no other."""
    if isinstance(it, Sent):
        return it
    try:
        return Sent.named(it.name or it.url, number, await service.fetcher.fetch(it.url, budget))
    except Problem as problem:
        return Sent.named(it.name or it.url, number, problem)
