"""The facts that labelled images tell of a bundle: figures, charts, and the images it was most wrong about."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.analyze.evaluate import Judged
from convsmith.analyze.house_page import image_url
from convsmith.analyze.report.facts import JudgedFacts, Picture, WorstImage
from convsmith.analyze.report.look_closer import looks, nearest_training, training_samples
from convsmith.bundle.images.image_error import ImageError
from convsmith.data.dataset import Samples
from convsmith.deploy.labelled import LabelledImages
from convsmith.errors import printable
from convsmith.progress import ProgressCallback

WORST = 24
_FEWEST, _FEWEST_LARGE = 12, 4
HEAT = "where it looked"
"""The name of the picture that shows it."""

_SIDE, _NEAR = 320, 80  # pixels of a picture, of squares half as many, and of a training image
_LARGEST = {"scores"}  # values of a row that are not for a page

Look = Callable[[NDArray[np.uint8], str], NDArray[np.uint8] | None]
"""Gives the heat over a model's input of that name, to be shown besides; None: there is none."""

Shown = list[tuple[str, NDArray[np.uint8]]]
"""RGB uint8 [H, W, 3] by what it shows."""


def judge_facts(judged: Judged, place: Path, data: Path, progress: ProgressCallback) -> JudgedFacts:
    """The facts about a bundle that was judged, with pictures of the images that it was most wrong about.

    Args:
        judged: by labelled images.
        place: the bundle, or its run, whose gradients tell where it looked.
        data: the labelled images, among which the training images are looked for.
        progress: called with what is done.
    """
    train = training_samples(judged.bundle.manifest, data)
    return facts_with(judged, show_worst(judged, place), train, progress)


def show_worst(judged: Judged, place: Path, until: float = math.inf) -> list[tuple[WorstImage, Shown]]:
    """The images that a bundle was most wrong about, each with what its task draws of it, and where it looked.

    Args:
        judged: by labelled images.
        place: the bundle, or its run.
        until: when none is added any more to the first 12, or 4 where they are large, by `time.monotonic`.
    """
    look, found = looks(place, judged, until), []
    fewest = _FEWEST if judged.bundle.task.one_size else _FEWEST_LARGE
    for image in _shown(judged, _worst_first(judged, WORST), look):
        found.append(image)
        if time.monotonic() > until and len(found) >= fewest:
            break
    return found


def facts_with(
    judged: Judged,
    worst: Sequence[tuple[WorstImage, Shown]],
    train: Samples | None,
    progress: ProgressCallback,
    until: float = math.inf,
) -> JudgedFacts:
    """The facts about a bundle that was judged.

    Args:
        judged: by labelled images.
        worst: what `show_worst` gave.
        train: what the bundle learned from, to be looked through for images that are like the worst ones; or None.
        progress: called with how many of these are embedded.
        until: when there is no time any more for further ones, by `time.monotonic`.
    """
    alike = nearest_training(judged, train, _worst_first(judged, len(worst)), progress, until)
    images = []
    for (image, _), near in zip(worst, alike, strict=True):
        images.append(replace(image, nearest=tuple(Picture(label, picture_url(it, _NEAR)) for label, it in near)))
    return JudgedFacts(judged.evaluation, judged.results.charts(), tuple(images), legend_of(judged))


def _worst_first(judged: Judged, most: int) -> NDArray[np.int64]:
    """The places of the images with the highest loss among those that were judged, the highest first."""
    return np.argsort(-judged.results.losses(), kind="stable")[:most]


def _shown(judged: Judged, places: NDArray[np.int64], look: Look) -> Iterator[tuple[WorstImage, Shown]]:
    """The images at these places among those that were judged, each with what its task draws of it."""
    results, side = judged.results.select(places), _SIDE // 2 if judged.bundle.task.one_size else _SIDE
    rows = results.rows(judged.bundle.labels)
    for number, loss, row in zip(judged.numbers[places].tolist(), results.losses().tolist(), rows, strict=True):
        shown = _show(judged, number, look)
        said = {key: value for key, value in row.items() if key not in _LARGEST}
        pictures = tuple(Picture(told, picture_url(it, side)) for told, it in shown)
        yield WorstImage(printable(judged.samples.name(number)), loss, said, pictures), shown


def legend_of(judged: Judged) -> tuple[tuple[str, str], ...]:
    """The colours of those pictures: a label, and a colour as CSS writes it."""
    colours = judged.bundle.task.legend(judged.bundle.manifest)
    return tuple((label, "#{:02x}{:02x}{:02x}".format(*colour)) for label, colour in colours)


def _show(judged: Judged, number: int, look: Look) -> Shown:
    """The image, what is true and what the bundle says, as far as the task draws them; nothing of unreadable ones."""
    name, manifest, task = judged.samples.name(number), judged.bundle.manifest, judged.bundle.task
    try:
        image, target = LabelledImages(manifest, judged.samples).read(number)
        (answer,) = task.ask(judged.bundle.logits, [image], [name], manifest)
    except ImageError:
        return []
    if isinstance(answer, ImageError):
        return []
    shown = task.show(answer, target, image, manifest)
    if (heat := look(image, name)) is not None:
        shown.append((HEAT, heat))
    return shown


def picture_url(pixels: NDArray[np.uint8], side: int) -> str:
    """RGB pixels [H, W, 3] as an URL that holds a JPEG, its longer side no longer than `side`; small ones grow."""
    picture = Image.fromarray(pixels)
    if max(picture.size) * 2 <= side:
        factor = side // max(picture.size)
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((side, side))
    return image_url(picture, "JPEG", quality=82, optimize=True)
