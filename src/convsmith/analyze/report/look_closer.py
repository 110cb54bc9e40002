"""Where the model looked in its worst errors, and which training images are most like them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.contact_sheet import named_classes
from convsmith.analyze.embed import embed
from convsmith.analyze.evaluate import Judged
from convsmith.analyze.explainer import open_explainer
from convsmith.analyze.neighbours import nearest
from convsmith.analyze.spread import spread
from convsmith.bundle.format import Manifest, holds_run
from convsmith.bundle.images.decode import as_pillow, for_eyes
from convsmith.bundle.images.image_error import ImageError
from convsmith.data.dataset import Samples
from convsmith.data.digest import has_names_of
from convsmith.data.open_data import data_of_bundle
from convsmith.deploy.labelled import LabelledImages
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback

NEAREST = 3
_TRAINING = 5000  # images that are compared: embedding them takes seconds, all of a large data set hours
_WITHOUT_GRADIENTS = 6  # images: hiding one part after the other takes a hundred passes each

Pixels = NDArray[np.uint8]
"""RGB [H, W, 3]."""


def looks(place: Path, judged: Judged, until: float = math.inf) -> Callable[[Pixels, str], Pixels | None]:
    """A function from a model's input [C, H, W] and its name to the heat over it.

    By gradients for a run, where torch is installed; else by hiding parts, of the first six images. It gives None for
    others, and for models that keep no map of the image, or give more than one answer to one.

    Args:
        place: the run or the bundle.
        judged: its images.
        until: when there is no time any more, by `time.monotonic`: then it gives None.
    """
    by_gradients = holds_run(place) and find_spec("torch") is not None
    left = len(judged.numbers) if by_gradients else _WITHOUT_GRADIENTS
    explainer = None
    if judged.bundle.task.one_size and time.monotonic() < until:
        for method in ("grad-cam", "occlusion") if by_gradients else ("occlusion",):
            with suppress(ConvsmithError, OSError):
                explainer = open_explainer(place, method)
                break

    def look(image: Pixels, name: str) -> Pixels | None:
        nonlocal left
        left -= 1
        if explainer is None or left < 0 or time.monotonic() > until:
            return None
        try:
            return explainer.explain(image, name=name).overlay()
        except ConvsmithError:
            return None

    return look


def training_samples(manifest: Manifest, data: Path) -> Samples | None:
    """The samples at a path that a bundle learned from; None where the data are not those of its training."""
    try:
        dataset = data_of_bundle(manifest, data)
    except ConvsmithError:
        return None
    return dataset.train if has_names_of(dataset, manifest.data_digest) else None


def nearest_training(
    judged: Judged, train: Samples | None, places: NDArray[np.int64], progress: ProgressCallback, until: float
) -> list[list[tuple[str, Pixels]]]:
    """The training images most like each of some images by their embeddings: a caption and a picture each.

    None where there are no training images, or the bundle has no embeddings. At most 5,000 training images are looked
    at, evenly of all, and as many as there is time for.

    Args:
        judged: the bundle, and images.
        train: what it learned from.
        places: of those that are asked for, among the images that were judged.
        progress: called with how many images are embedded.
        until: when there is no time any more, by `time.monotonic`.
    """
    nothing: list[list[tuple[str, Pixels]]] = [[] for _ in places]
    if train is None or not len(train) or time.monotonic() > until:
        return nothing
    count = min(_TRAINING, len(train))
    train = train.select((np.arange(count) * len(train) // count)[spread(count)])
    asked = judged.samples.select(judged.numbers[places])
    try:
        made = embed(judged.bundle, [asked, train], progress, until)
    except ConvsmithError:
        return nothing
    there = len(asked) + np.flatnonzero(made[len(asked) :].any(axis=1))
    if not len(there):
        return nothing
    found, _ = nearest(made[there], made[: len(asked)], NEAREST)
    images = LabelledImages(judged.bundle.manifest, train)
    return [[it for k in there[of_one] if (it := _shown(images, int(k) - len(asked)))] for of_one in found]


def _shown(images: LabelledImages, number: int) -> tuple[str, Pixels] | None:
    try:
        image, target = images.read(number)
    except ImageError:
        return None
    return named_classes(target, images.manifest.labels), np.asarray(
        as_pillow(for_eyes(image.transpose(1, 2, 0))).convert("RGB")
    )
