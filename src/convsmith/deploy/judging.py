"""The loop that judges models: read, ask, leave out what gets no answer, and report progress. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.format import Manifest
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.read_ahead import read_ahead
from convsmith.bundle.runtime import Infer
from convsmith.bundle.task import Ask, Said, find_task
from convsmith.progress import ProgressCallback, no_progress

Labelled = tuple[NDArray[np.uint8], Any]
"""An input of the bundle, uint8 [3, H, W], and its class, or the classes of its pixels, uint8 [H, W]."""


class Inputs(Protocol):
    """Labelled inputs of a bundle, by number."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """The name of input i in messages."""

    def read(self, i: int) -> Labelled:
        """Input i; an ImageError, which names it, if it cannot be read or is too large for the model."""


@dataclass(frozen=True)
class InMemory:
    """Inputs that have been read."""

    labelled: Sequence[Labelled]

    def __len__(self) -> int:
        return len(self.labelled)

    def name(self, i: int) -> str:
        """A number."""
        return f"image {i}"

    def read(self, i: int) -> Labelled:
        """Input i."""
        return self.labelled[i]


@dataclass
class Heard:
    """The answers of models to some images.

    Attributes:
        said: of each model, what it says of each image that all of them answer.
        targets: what is true of these images.
        numbers: which of the inputs they are.
        left_out: why the other images are left out, in their order.
        unanswered: those among these that were read, and got no answer.
    """

    said: list[list[Said]]
    targets: list[Any] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    left_out: list[ImageError] = field(default_factory=list)
    unanswered: list[ImageError] = field(default_factory=list)

    def require_answers(self) -> None:
        """Raise the first error of `unanswered`: without that image, others would be compared than are asked for."""
        for error in self.unanswered:
            raise error


def judge(
    manifest: Manifest,
    models: Sequence[Infer],
    inputs: Inputs,
    batch_size: int = 32,
    *,
    what: str,
    progress: ProgressCallback = no_progress,
    ask: Ask | None = None,
) -> Iterator[Heard]:
    """Ask models about all inputs, batch by batch; whoever takes the batches counts.

    Args:
        manifest: of the bundle whose forms the models are.
        models: all are asked about the same images.
        inputs: what they are asked about; a few threads read ahead.
        batch_size: images in a forward pass, where the task has images of one size.
        what: what `progress` calls this work.
        progress: called with how many images are done, of how many.
        ask: asks in place of `Task.ask`.
    """
    task, done = find_task(manifest.task), 0
    ask = ask or task.ask

    def read(i: int) -> tuple[int, Labelled | ImageError]:
        try:
            return i, inputs.read(i)
        except ImageError as error:
            return i, error

    for batch in read_ahead(read, range(len(inputs)), batch_size if task.one_size else 1):
        good = [(i, *labelled) for i, labelled in batch if not isinstance(labelled, ImageError)]
        names, images = [inputs.name(i) for i, *_ in good], [image for _, image, _ in good]
        answers = [iter(ask(model, images, names, manifest) if good else ()) for model in models]
        heard = Heard([[] for _ in models])
        for i, labelled in batch:
            if isinstance(labelled, ImageError):
                heard.left_out.append(labelled)
            else:
                _add(heard, [next(of_model) for of_model in answers], labelled[1], i)
        done += len(batch)
        yield heard
        progress(what, done, len(inputs))


def _add(heard: Heard, answers: Sequence[Said | ImageError], target: Any, number: int) -> None:
    """Take in what each model says of one image."""
    error = next((answer for answer in answers if isinstance(answer, ImageError)), None)
    if error is not None:
        heard.left_out.append(error)
        heard.unanswered.append(error)
        return
    heard.targets.append(target)
    heard.numbers.append(number)
    for said, answer in zip(heard.said, answers, strict=True):
        assert not isinstance(answer, ImageError)
        said.append(answer)
