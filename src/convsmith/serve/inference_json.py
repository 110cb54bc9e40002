"""Questions and answers of the Open Inference Protocol as HTTP has them: JSON, with binary values behind it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from convsmith.complaints import first_problem
from convsmith.serve.inference import Inference, Wanted
from convsmith.serve.problems import Problem
from convsmith.serve.tensors import BYTES, Tensor, tensor_of_bytes, tensor_of_values

HEADER = "Inference-Header-Content-Length"
_MOST_OBJECTS, _MOST_LISTS = 1000, 200_000  # what they hold costs a hundred times its bytes
_MOST_IN_JSON = 2**20  # values of an answer
Parameters = dict[str, Any]


class InputTensor(BaseModel):
    """An input; `data` is left out where its bytes follow, so many as the parameter `binary_data_size` says."""

    name: str
    datatype: str = Field(description="`UINT8`, or `BYTES` of image files: base64 in JSON.")
    shape: list[int]
    parameters: Parameters | None = None
    data: Any = Field(None, description="A list, nested or not.")


class OutputTensor(BaseModel):
    """An output that is wanted; its parameters may be `binary_data` and `classification`."""

    name: str
    parameters: Parameters | None = None


class InferRequest(BaseModel):
    """A question; the parameter `binary_data_output` wants all outputs as binary data.

    Other keys are passed over: KServe's client says the name of the model once more.
    """

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[OutputTensor] | None = None


class AnsweredTensor(BaseModel):
    """An output; of binary data, `parameters` has `binary_data_size` in place of `data`."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferAnswer(BaseModel):
    """An answer."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[AnsweredTensor]


def read_question(content: bytes, header: str | None) -> tuple[Inference, frozenset[str]]:
    """The question of a body, and the outputs that are wanted as binary data; `*` stands for all.

    Args:
        content: JSON, and behind it the binary values.
        header: how long the JSON is, as `HEADER` says; None: all of it.

    Raises:
        Problem: 400 it cannot be understood.
    """
    length = _length(header, len(content))
    request = _parsed(content[:length])
    inputs, place, rest = list[Tensor](), 0, memoryview(content)[length:]
    for it in request.inputs:
        size = (it.parameters or {}).get("binary_data_size")
        if size is None:
            values = _from_base64(it) if it.datatype == BYTES else it.data
            inputs.append(tensor_of_values(it.name, it.datatype, it.shape, values))
            continue
        if type(size) is not int or not 0 <= size <= len(rest) - place or it.data is not None:
            why = f"binary_data_size is {json.dumps(size)[:100]}, and {len(rest) - place} bytes follow"
            raise Problem(400, f"`{it.name}` has not the binary data that it should", why)
        inputs.append(tensor_of_bytes(it.name, it.datatype, it.shape, rest[place : place + size]))
        place += size
    if place != len(rest):
        raise Problem(400, "the body goes on behind its last input", f"{len(rest) - place} bytes are left")
    wanted = [Wanted.parse(it.name, (it.parameters or {}).get("classification", 0)) for it in request.outputs or ()]
    said = {it.name: (it.parameters or {}).get("binary_data") for it in request.outputs or ()}
    binary = {name for name, value in said.items() if value is True}
    if (request.parameters or {}).get("binary_data_output") is True:
        binary |= {name for name, value in said.items() if value is not False} if said else {"*"}
    return Inference(inputs, wanted, request.id or ""), frozenset(binary)


def write_answer(
    model: tuple[str, str], question: Inference, outputs: Sequence[Tensor], binary: frozenset[str]
) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers.

    Args:
        model: its name and version.
        question: what was asked.
        outputs: what is answered.
        binary: as `read_question` returned it.

    Raises:
        Problem: 413 there are so many values that they are not written as JSON.
    """
    described, parts = list[Mapping[str, Any]](), list[bytes]()
    for it in outputs:
        about: dict[str, Any] = {"name": it.name, "datatype": it.datatype, "shape": it.shape}
        if it.name in binary or "*" in binary:
            parts.append(it.to_bytes())
            about["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            about["data"] = _plain(it)
        described.append(about)
    answer = {"model_name": model[0], "model_version": model[1], **({"id": question.id} if question.id else {})}
    text = json.dumps({**answer, "outputs": described}, allow_nan=False).encode()
    if not binary:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER: str(len(text))}
    return text + b"".join(parts), headers


def _length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not (header.isascii() and header.isdecimal() and len(header) < 20 and int(header) <= size):
        raise Problem(400, f"{HEADER} is `{header[:50]}`", f"the body has {size} bytes")
    return int(header)


def _parsed(text: bytes) -> InferRequest:
    try:
        if text.count(b"{") > _MOST_OBJECTS or text.count(b"[") > _MOST_LISTS:
            raise ValueError("it holds too many objects or lists")
        return InferRequest.model_validate(json.loads(text))
    except ValidationError as error:
        raise Problem(400, "the request is not understood", first_problem(error, InferRequest)) from error
    except (ValueError, RecursionError) as error:
        raise Problem(400, "the request is not JSON", str(error)) from error


def _from_base64(it: InputTensor) -> list[bytes]:
    texts = it.data if isinstance(it.data, list) else [it.data]
    try:
        return [base64.b64decode(text, validate=True) for text in texts]
    except (ValueError, TypeError) as error:
        why = f"{error}; files in JSON are base64"
        raise Problem(400, f"the data of `{it.name}` cannot be read", why) from error


def _plain(it: Tensor) -> list[Any]:
    if isinstance(it.values, list):
        return [text.decode("utf-8") for text in it.values]
    if it.values.size > _MOST_IN_JSON:
        why = f"`{it.name}` has {it.values.size:,} values"
        raise Problem(413, "the answer is too large for JSON", why, "Ask for it as binary data.")
    values: list[Any] = it.values.ravel().tolist()
    return values
