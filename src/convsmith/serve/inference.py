"""Answers tensors of preprocessed images, or image files, with tensors: what HTTP and gRPC have in common."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import EMBEDDINGS, INPUT, OUTPUT
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.serve.asked import Asked
from convsmith.serve.problems import Problem
from convsmith.serve.sent import check_number
from convsmith.serve.service import Left, Service
from convsmith.serve.tensors import BYTES, Shape, Tensor

FILES, ANSWER = "files", "answer"
TOGETHER = 8  # images that a model runs on at once
_MOST_VALUES = 2**26  # of one output
_SCALARS: dict[object, str] = {int: "INT64", float: "FP32", str: BYTES}
_KINDS: dict[str, type] = {"INT64": np.int64, "FP32": np.float32}


@dataclass(frozen=True)
class Wanted:
    """An output that is asked for; with `classes`, the so many highest values and their labels in place of all."""

    name: str
    classes: int = 0

    @classmethod
    def parse(cls, name: str, classes: object) -> Wanted:
        """An output with the number of classes that a client gives; a `Problem` of status 400 if that is none."""
        if type(classes) is not int or classes < 0:
            raise Problem(400, f"`classification` of `{name}` is not a number of classes")
        return cls(name, classes)


@dataclass(frozen=True)
class Inference:
    """A question in tensors.

    Attributes:
        inputs: one tensor.
        wanted: the outputs; none stands for all that cost nothing more.
        id: comes back with the answer.
    """

    inputs: Sequence[Tensor]
    wanted: Sequence[Wanted] = field(default_factory=tuple)
    id: str = ""


def inputs_of(bundle: Bundle) -> list[Shape]:
    """The tensors that a model takes, one of them at a time: preprocessed images, or image files."""
    size = bundle.manifest.only_size or (-1, -1)
    return [Shape(INPUT, "UINT8", (-1, bundle.manifest.preprocess.bands.channels, *size)), Shape(FILES, BYTES, (-1,))]


def outputs_of(bundle: Bundle) -> list[Shape]:
    """The tensors that a model gives: logits, embeddings if it has some, answers in JSON and what is plain in them."""
    classes, size = len(bundle.labels), bundle.manifest.only_size or (-1, -1)
    logits = bundle.task.logits_shape(classes, size) if bundle.task.one_size else (classes, -1, -1)
    raw = [Shape(OUTPUT, "FP32", (-1, *logits))]
    if bundle.task.one_size and bundle.manifest.embeddings:
        raw.append(Shape(EMBEDDINGS, "FP32", (-1, bundle.manifest.embeddings)))
    fields = bundle.task.schema.model_fields.items()
    plain = [Shape(name, _SCALARS[it.annotation], (-1,)) for name, it in fields if it.annotation in _SCALARS]
    return [*raw, Shape(ANSWER, BYTES, (-1,)), *plain]


async def answer_tensors(service: Service, asked: Asked, question: Inference, left: Left) -> list[Tensor]:
    """Let a model answer a question when it is its turn; asked and left are as `Service.ask_file` takes them.

    Raises:
        Problem: 400 it is not a question for this model; and as `Service.ask_file` does.
    """
    given, wanted = _given(asked.bundle, question), _wanted(asked.bundle, question)
    images: list[Any]
    if given.name == FILES:
        check_number(len(given.values), service.settings.max_images)
        images = [io.BytesIO(it) for it in given.values]
    else:
        images = list(given.values)

    def answer() -> list[Tensor]:
        with asked.timed("preprocess"):
            pixels = [service.read(asked, it) for it in images] if given.name == FILES else images
        return service.lanes.run(asked, lambda: _outputs(asked.bundle, pixels, wanted))

    with service.watched(asked):
        if given.name == FILES:
            work = sum([await service.weigh(asked, it) for it in images])
        else:
            work = float(math.prod(given.shape) / given.shape[1])
        return await service.ask(asked, work, left, answer)


def _outputs(bundle: Bundle, pixels: Sequence[NDArray[np.uint8]], wanted: Sequence[Wanted]) -> list[Tensor]:
    try:
        found = _one_size(bundle, pixels) if bundle.task.one_size else _any_size(bundle, pixels, wanted)
    except ImageError:
        raise
    except ConvsmithError as error:  # images of a size that the model does not run on
        raise Problem(400, error.what, error.why, error.fix) from error
    return [_classified(bundle, it, found[it.name]) if it.classes else Tensor(it.name, found[it.name]) for it in wanted]


def _given(bundle: Bundle, question: Inference) -> Tensor:
    """The one input, of a shape that the model takes."""
    shapes = {it.name: it for it in inputs_of(bundle)}
    if len(question.inputs) != 1:
        raise Problem(400, f"there are {len(question.inputs)} inputs", f"one of {' and '.join(shapes)} is taken")
    (given,) = question.inputs
    if given.name not in shapes:
        meant = did_you_mean(given.name, shapes)
        raise Problem(400, f"there is no input `{given.name}`{meant}", f"there are {' and '.join(shapes)}")
    shape = shapes[given.name]
    fits = len(given.shape) == len(shape.shape) and all(
        want in (-1, has) for want, has in zip(shape.shape, given.shape, strict=False)
    )
    if given.datatype != shape.datatype or not fits or 0 in given.shape:
        raise Problem(
            400,
            f"`{given.name}` is {given.datatype} {given.shape}",
            f"the model takes {shape.datatype} {list(shape.shape)}, where -1 stands for one or more",
        )
    return given


def _wanted(bundle: Bundle, question: Inference) -> list[Wanted]:
    names = [it.name for it in outputs_of(bundle)]
    for it in question.wanted:
        if it.name not in names:
            raise Problem(
                400, f"there is no output `{it.name}`{did_you_mean(it.name, names)}", f"there are {', '.join(names)}"
            )
        if it.classes and (it.name != OUTPUT or not bundle.task.one_size):
            raise Problem(400, f"`{it.name}` is not classified", "`classification` is for the logits of a classifier")
    if question.wanted:
        return list(question.wanted)
    usual = names if bundle.task.one_size else [OUTPUT] if question.inputs[0].name == INPUT else [ANSWER]
    return [Wanted(name) for name in usual]


def _one_size(bundle: Bundle, pixels: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """All outputs of a task that looks at images of one size, by few runs of the model."""
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(pixels), TOGETHER):
        some = np.stack(pixels[start : start + TOGETHER])
        names = [f"image {start + number}" for number in range(len(some))]
        found.append(bundle.predict_with_outputs(some, names))
    answers = [it for answers, _, _ in found for it in answers]
    outputs: dict[str, Any] = {OUTPUT: np.concatenate([logits for _, logits, _ in found]), **_said(bundle, answers)}
    if bundle.manifest.embeddings:
        outputs[EMBEDDINGS] = np.concatenate([rows for _, _, rows in found])
    return outputs


def _any_size(bundle: Bundle, pixels: Sequence[NDArray[np.uint8]], wanted: Sequence[Wanted]) -> dict[str, Any]:
    """The wanted outputs of a task whose images have any size: each of them has an own run of the model."""
    outputs: dict[str, Any] = {}
    names = {it.name for it in wanted}
    if names - {OUTPUT}:
        answers = [bundle.predict_together([it], [f"image {number}"])[0] for number, it in enumerate(pixels)]
        outputs |= _said(bundle, answers)
    if OUTPUT in names:
        sizes = {it.shape for it in pixels}
        if len(sizes) > 1:
            raise Problem(
                400, "the logits of images of several sizes make no tensor", fix="Ask for one image at a time."
            )
        values = len(pixels) * len(bundle.labels) * math.prod(pixels[0].shape[1:])
        if values > _MOST_VALUES:
            raise Problem(
                413, "the logits would be too large", f"they have {values:,} values of {_MOST_VALUES:,} allowed"
            )
        for number, it in enumerate(pixels):
            bundle.task.check_image(it, bundle.manifest.preprocess, len(bundle.labels), f"image {number}")
        outputs[OUTPUT] = np.concatenate([bundle.logits(it[None]) for it in pixels])
    return outputs


def _said(bundle: Bundle, answers: Sequence[Any]) -> dict[str, Any]:
    for it in answers:
        if isinstance(it, ImageError):
            raise it
    values = [bundle.task.to_json(it) for it in answers]
    plain = {it.name: it for it in outputs_of(bundle) if it.name in values[0]}
    outputs: dict[str, Any] = {ANSWER: [json.dumps(it).encode() for it in values]}
    for name, shape in plain.items():
        column = [it[name] for it in values]
        outputs[name] = (
            [it.encode() for it in column] if shape.datatype == BYTES else np.array(column, _KINDS[shape.datatype])
        )
    return outputs


def _classified(bundle: Bundle, wanted: Wanted, logits: NDArray[np.float32]) -> Tensor:
    """The highest logits of each image as texts `VALUE:CLASS:LABEL`, as Triton has them."""
    count = min(wanted.classes, logits.shape[1])
    best = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    texts = [f"{row[k]:f}:{k}:{bundle.labels[k]}" for row, places in zip(logits, best, strict=True) for k in places]
    return Tensor(wanted.name, [it.encode() for it in texts], best.shape)
