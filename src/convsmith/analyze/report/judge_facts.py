"""The facts that labelled images tell of a bundle: figures, charts, and the images it was most wrong about."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.analyze.evaluate import Judged
from convsmith.analyze.report.facts import JudgedFacts, Picture, WorstImage
from convsmith.analyze.report.look_closer import looks, nearest_training
from convsmith.bundle.images.image_error import ImageError
from convsmith.deploy.labelled import LabelledImages
from convsmith.errors import printable
from convsmith.progress import ProgressCallback

WORST = 24
_SIDE, _NEAR = 320, 80  # pixels of a picture, of squares half as many, and of a training image
_LARGEST = {"scores"}  # values of a row that are not for a page

Look = Callable[[NDArray[np.uint8], str], NDArray[np.uint8] | None]


def judge_facts(judged: Judged, place: Path, data: Path, progress: ProgressCallback) -> JudgedFacts:
    """The facts about a bundle that was judged, with pictures of the images that it was most wrong about.

    Args:
        judged: by labelled images.
        place: the bundle, or its run, whose gradients tell where it looked.
        data: the labelled images, among which the training images are looked for.
        progress: called with what is done.
    """
    task, manifest, results = judged.bundle.task, judged.bundle.manifest, judged.results
    losses = results.losses()
    order = np.argsort(-losses, kind="stable")[:WORST]
    look, numbers = looks(place, judged), judged.numbers[order]
    alike = nearest_training(judged, data, numbers, progress)
    side = _SIDE // 2 if task.one_size else _SIDE
    images = []
    for number, loss, row, near in zip(
        numbers.tolist(), losses[order].tolist(), results.select(order).rows(manifest.labels), alike, strict=True
    ):
        said = {key: value for key, value in row.items() if key not in _LARGEST}
        near_pictures = tuple(Picture(label, picture_url(it, _NEAR)) for label, it in near)
        name = judged.samples.name(number)
        pictures = tuple(Picture(told, picture_url(it, side)) for told, it in show_judged(judged, number, look))
        images.append(WorstImage(printable(name), loss, said, pictures, near_pictures))
    legend = tuple((label, "#{:02x}{:02x}{:02x}".format(*colour)) for label, colour in task.legend(manifest))
    return JudgedFacts(judged.evaluation, results.charts(), tuple(images), legend if images else ())


def show_judged(judged: Judged, number: int, look: Look | None = None) -> list[tuple[str, NDArray[np.uint8]]]:
    """The image, what is true and what the bundle says, as far as the task draws them: RGB uint8 [H, W, 3] by name.

    Args:
        judged: by labelled images.
        number: of one of its samples; nothing is shown of one that cannot be read any more.
        look: gives the heat over a model's input of that name, to be shown besides; None: there is none.
    """
    name, manifest, task = judged.samples.name(number), judged.bundle.manifest, judged.bundle.task
    try:
        image, target = LabelledImages(manifest, judged.samples).read(number)
        (answer,) = task.ask(judged.bundle.logits, [image], [name], manifest)
    except ImageError:
        return []
    if isinstance(answer, ImageError):
        return []
    shown = task.show(answer, target, image, manifest)
    if look is not None and (heat := look(image, name)) is not None:
        shown.append(("where it looked", heat))
    return shown


def picture_url(pixels: NDArray[np.uint8], side: int) -> str:
    """RGB pixels [H, W, 3] as an URL that holds a JPEG, its longer side no longer than `side`; small ones grow."""
    picture = Image.fromarray(pixels)
    if max(picture.size) * 2 <= side:
        factor = side // max(picture.size)
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
