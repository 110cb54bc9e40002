"""Answers to images in a row, packed for the parts of a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle
from convsmith.data.folders.image_paths import Named
from convsmith.devices import Place
from convsmith.errors import ConvsmithError
from convsmith.jobs.predict import answers_to
from convsmith.jobs.prediction_rows import RowFormat, row_format

_IMAGES = 4096  # of a part at most
_SECONDS = 30.0  # of work that a part holds, and so of what a kill costs


class Answered(NamedTuple):
    """The answers to the next images.

    Attributes:
        rows: a part of the file.
        images: how many they are.
        bad: how many of them have an error.
    """

    rows: bytes
    images: int
    bad: int


def facts_of(model: Bundle[Any], top: int | None, batch_size: int) -> dict[str, Any]:
    """The facts that the rows of all images depend on, by the words under which a folder of them keeps these."""
    return {
        "bundle": model.manifest.checksum,
        "preprocessing": model.manifest.preprocess.model_dump(mode="json"),
        "top": top,
        "images in a batch": batch_size,
    }


@dataclass(frozen=True)
class Answering:
    """How images are answered for a file.

    Attributes:
        out: the file.
        checksum: the bundle's.
        top: how many classes of each image are listed; None: as many as its task has it.
        batch_size: images of a classifier in one forward pass.
    """

    out: Path
    checksum: str
    top: int | None
    batch_size: int

    def check(self, model: Bundle[Any]) -> None:
        """Raise a ConvsmithError for another bundle."""
        if model.manifest.checksum != self.checksum:
            raise ConvsmithError(
                f"{model.path} is another bundle on another machine", "", "Give all machines the same."
            )

    def rows(self, model: Bundle[Any], place: Place | None = None) -> RowFormat:
        """How the file holds answers of the bundle, which another place may run. ConvsmithError for another ending."""
        return row_format(self.out, model, self.top, place or model.place)

    def answer(
        self, model: Bundle[Any], images: Iterable[Named], tell: Callable[[int], None] = lambda _: None
    ) -> Iterator[Answered]:
        """Answer images in parts that end where a batch does: whoever goes on behind one makes the same batches.

        Args:
            model: the bundle.
            images: to answer.
            tell: called with the number of images that are answered.
        """
        rows, packed = self.rows(model), list[Any]()
        first, bad, since, number = 0, 0, time.monotonic(), 0
        for number, (name, answer, _) in enumerate(answers_to(model, images, self.batch_size), 1):
            packed += rows.rows(name, answer)
            bad += isinstance(answer, ImageError)
            tell(number)
            is_late = number - first >= _IMAGES or time.monotonic() - since > _SECONDS
            if is_late and number % self.batch_size == 0:
                yield Answered(rows.pack(packed), number - first, bad)
                packed, first, bad, since = [], number, 0, time.monotonic()
        if number > first:
            yield Answered(rows.pack(packed), number - first, bad)
