"""What a prediction looks like in an HTTP response."""

from __future__ import annotations

import io
from collections.abc import Sequence

from fastapi import Response
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, Field

from convsmith.bundle.classification import Classification
from convsmith.bundle.predictor import Bundle
from convsmith.serve.problems import Problem

JSON, PNG, JPEG = "application/json", "image/png", "image/jpeg"


class ClassScore(BaseModel):
    """One class and its probability, 0 to 1."""

    class_id: int
    label: str
    score: float


class ClassAnswer(ClassScore):
    """The most probable class, and the `top` ones in order."""

    top: list[ClassScore]


class ClassArea(BaseModel):
    """How much of the image a class has."""

    class_id: int
    label: str
    pixels: int
    share: float


class MaskAnswer(BaseModel):
    """The class of each pixel."""

    size: tuple[int, int] = Field(description="Height and width.")
    classes: list[ClassArea] = Field(description="Those that the image shows, the largest first.")
    runs: list[tuple[int, int]] = Field(description="[class_id, length] of pixels in a row, row after row.")


def answer(bundle: Bundle, content: bytes, accept: str, top: int | None) -> Response:
    """Predict an uploaded file.

    Args:
        bundle: what predicts; of a classifier the answer is JSON.
        content: the file.
        accept: the request's header of that name, by which a mask is JSON, a PNG of the classes, or a JPEG of the
            image with the classes' colours over it.
        top: how many classes are listed; None lists 5 of a classifier, and all that a mask shows.

    Raises:
        Problem: 406 for a mask in no form that there is, 422 for the top of a picture.
        ImageError: the file cannot be read.
    """
    kind = JSON if bundle.manifest.task == "classification" else accepted(accept, (JSON, PNG, JPEG))
    if top is not None and kind != JSON:
        raise Problem(422, "`top` is not for pictures", f"the answer is {kind}, which shows all classes", "Omit it.")
    name = "the uploaded file"
    pixels = bundle.preprocess(content, name)
    prediction = bundle.predict_preprocessed(pixels, name)
    if isinstance(prediction, Classification):
        return JSONResponse(ClassAnswer.model_validate(prediction.to_dict(top or 5)).model_dump())
    if kind == PNG:
        return Response(prediction.index_png(), media_type=PNG)
    if kind == JPEG:
        file = io.BytesIO()
        Image.fromarray(prediction.overlay(pixels.transpose(1, 2, 0))).save(file, "JPEG", quality=90)
        return Response(file.getvalue(), media_type=JPEG)
    mask = prediction.to_dict(runs=True)
    return JSONResponse({**mask, "classes": mask["classes"][:top]})


def accepted(accept: str, offered: Sequence[str]) -> str:
    """Of the media types that are offered, in order of preference, the one that an Accept header likes best.

    Raises:
        Problem: 406 if it likes none.
    """
    likes: dict[str, float] = {}
    for entry in accept.lower().split(",") if accept else ["*/*"]:
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            likes[name] = min(1.0, max(0.0, float(quality)))  # 0 where it is `nan`
        except ValueError:
            likes[name] = 0.0

    def liking(kind: str) -> float:
        return next((likes[name] for name in (kind, f"{kind.partition('/')[0]}/*", "*/*") if name in likes), 0.0)

    best = max(offered, key=liking)
    if liking(best) <= 0:
        raise Problem(406, "no such answer", f"Accept is `{accept}`", f"Ask for {', '.join(offered)}.")
    return best
