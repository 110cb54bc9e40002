"""Pictures of an image that a bundle was judged by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.evaluate import Judged
from convsmith.bundle.images.image_error import ImageError
from convsmith.deploy.labelled import LabelledImages


def show_judged(judged: Judged, number: int) -> list[tuple[str, NDArray[np.uint8]]]:
    """The image, what is true and what the bundle says, as far as the task draws them: RGB uint8 [H, W, 3] by name.

    Args:
        judged: by labelled images.
        number: of one of its samples; nothing is shown of one that cannot be read any more.
    """
    manifest, task, name = judged.bundle.manifest, judged.bundle.task, judged.samples.name(number)
    try:
        image, target = LabelledImages(manifest, judged.samples).read(number)
    except ImageError:
        return []
    (answer,) = task.ask(judged.bundle.logits, [image], [name], manifest)
    return [] if isinstance(answer, ImageError) else task.show(answer, target, image, manifest)
