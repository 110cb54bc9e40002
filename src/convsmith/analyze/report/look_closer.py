"""Where the model looked in its worst errors, and which training images are most like them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.contact_sheet import named_classes
from convsmith.analyze.embed import embed
from convsmith.analyze.evaluate import Judged
from convsmith.analyze.explain import open_explainer
from convsmith.analyze.neighbours import nearest
from convsmith.bundle.images.decode import as_pillow, for_eyes
from convsmith.bundle.images.image_error import ImageError
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


def looks(place: Path, judged: Judged) -> Callable[[Pixels, str], Pixels | None]:
    """A function from a model's input [C, H, W] and its name to the heat over it.

    By gradients for a run, where torch is installed; else by hiding parts, of the first six images. It gives None for
    others, and for models that keep no map of the image, or give more than one answer to one.

    Args:
        place: the run or the bundle.
        judged: its images.
    """
    by_gradients = (place / "recipe.yaml").is_file() and find_spec("torch") is not None
    left = len(judged.numbers) if by_gradients else _WITHOUT_GRADIENTS
    explainer = None
    if judged.bundle.task.one_size:
        for method in ("grad-cam", "occlusion") if by_gradients else ("occlusion",):
            with suppress(ConvsmithError, OSError):
                explainer = open_explainer(place, method)
                break

    def look(image: Pixels, name: str) -> Pixels | None:
        nonlocal left
        left -= 1
        if explainer is None or left < 0:
            return None
        try:
            return explainer.explain(image, name=name).overlay()
        except ConvsmithError:
            return None

    return look


def nearest_training(
    judged: Judged, data: Path, numbers: NDArray[np.int64], progress: ProgressCallback
) -> list[list[tuple[str, Pixels]]]:
    """The training images most like each of some images by their embeddings: a caption and a picture each.

    None where the data are not those of the training, or the bundle has no embeddings. At most 5,000 training images
    are looked at, evenly of all.

    Args:
        judged: the bundle, and images.
        data: where they are.
        numbers: which of `judged.samples` are asked for.
        progress: called with how many images are embedded.
    """
    nothing: list[list[tuple[str, Pixels]]] = [[] for _ in numbers]
    bundle, manifest = judged.bundle, judged.bundle.manifest
    try:
        dataset = data_of_bundle(manifest, data)
        if manifest.data_digest is None or not has_names_of(dataset, manifest.data_digest) or not len(dataset.train):
            return nothing
        count = min(_TRAINING, len(dataset.train))
        train = dataset.train.select(np.arange(count) * len(dataset.train) // count)
        made = embed(bundle, [train, judged.samples.select(numbers)], progress)
    except ConvsmithError:
        return nothing
    found, _ = nearest(made[:count], made[count:], NEAREST)
    images = LabelledImages(manifest, train)
    return [[it for k in of_one if (it := _shown(images, k))] for of_one in found.tolist()]


def _shown(images: LabelledImages, number: int) -> tuple[str, Pixels] | None:
    try:
        image, target = images.read(number)
    except ImageError:
        return None
    return named_classes(target, images.manifest.labels), np.asarray(
        as_pillow(for_eyes(image.transpose(1, 2, 0))).convert("RGB")
    )
