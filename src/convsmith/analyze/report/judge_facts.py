"""The facts that labelled images tell of a bundle: figures, charts, and the images it was most wrong about."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.analyze.evaluate import Judged
from convsmith.analyze.report.facts import JudgedFacts, Picture, WorstImage
from convsmith.bundle.images.image_error import ImageError
from convsmith.deploy.labelled import LabelledImages
from convsmith.errors import printable

WORST = 24
_SIDE = 320  # pixels of a picture where there are several, of one half as many
_LARGEST = {"scores"}  # values of a row that are not for a page


def judge_facts(judged: Judged, worst: int = WORST) -> JudgedFacts:
    """The facts about a bundle that was judged, with pictures of the images that it was most wrong about.

    Args:
        judged: by labelled images.
        worst: how many of these are shown.
    """
    task, manifest, results = judged.bundle.task, judged.bundle.manifest, judged.results
    order = np.argsort(-results.losses(), kind="stable")[:worst]
    rows = results.select(order).rows(manifest.labels)
    images = [
        _worst(judged, int(judged.numbers[number]), float(results.losses()[number]), row)
        for number, row in zip(order.tolist(), rows, strict=True)
    ]
    legend = tuple((label, "#{:02x}{:02x}{:02x}".format(*colour)) for label, colour in task.legend(manifest))
    return JudgedFacts(judged.evaluation, results.charts(), tuple(images), legend if images else ())


def _worst(judged: Judged, number: int, loss: float, row: Mapping[str, Any]) -> WorstImage:
    name, manifest = judged.samples.name(number), judged.bundle.manifest
    said = {key: value for key, value in row.items() if key not in _LARGEST}
    try:
        image, target = LabelledImages(manifest, judged.samples).read(number)
        task = judged.bundle.task
        (answer,) = task.ask(judged.bundle.logits, [image], [name], manifest)
        shown = [] if isinstance(answer, ImageError) else task.show(answer, target, image, manifest)
    except ImageError:  # it could be read before
        shown = []
    side = _SIDE if len(shown) > 1 else _SIDE // 2
    return WorstImage(printable(name), loss, said, tuple(Picture(told, picture_url(it, side)) for told, it in shown))


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
