"""A bundle for segmentation against true masks. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.bundle.decode import ImageError
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.segmentation import Segmentation
from convsmith.bundle.segmentation_metrics import SegmentationResults
from convsmith.data.open_data import judged_by
from convsmith.errors import ConvsmithError


@dataclass(frozen=True)
class MaskEvaluation:
    """What a bundle gets right, pixel by pixel.

    Attributes:
        images: number of images that were judged.
        held_out: whether they are the validation images of the data that the bundle was trained on.
        miou: mean of `iou`, classes that never occur counted as 0, as HRNet's code does.
        mean_accuracy: mean of `accuracy`, likewise.
        pixel_accuracy: fraction of pixels whose class is right.
        boundary_iou: mean over the classes of their boundaries' IoU; None where it was not asked for.
        labels: class names, in the bundle's order.
        iou: intersection over union of each class.
        accuracy: fraction of each class's pixels that are right.
        pixels: how many pixels each class truly has; where it is 0, the class's figures mean nothing.
        confusion: counts of pixels [K][K], rows true and columns predicted.
        unreadable: one line for each image that was left out.
    """

    images: int
    held_out: bool
    miou: float
    mean_accuracy: float
    pixel_accuracy: float
    boundary_iou: float | None
    labels: tuple[str, ...]
    iou: tuple[float, ...]
    accuracy: tuple[float, ...]
    pixels: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]
    unreadable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def evaluate_masks(
    bundle: Bundle, data: Path, boundary: bool = False, progress: Callable[[int, int], None] | None = None
) -> MaskEvaluation:
    """Judge a bundle by images with masks, at the images' own size.

    Args:
        bundle: what is judged.
        data: the folder that the bundle was trained on, of which only the validation images are judged; or another
            one of the same layout, judged by its validation part, or by its training part where it has none.
        boundary: measure Boundary IoU too.
        progress: called with how many images are done, of how many.

    Raises:
        ConvsmithError: the data cannot be used, have other classes, or not one image can be read.
    """
    samples, held_out = judged_by(bundle.manifest, data)
    results, unreadable = SegmentationResults(len(bundle.labels), boundary), []
    for i in range(len(samples)):
        try:
            picture, mask = samples.read(i)
            answer = bundle.predict(picture, samples.name(i))
        except ImageError as error:
            unreadable.append(f"{error.what}: {error.why}")
        else:
            assert isinstance(answer, Segmentation)
            results.update(answer.mask, mask)
        if progress:
            progress(i + 1, len(samples))
    judged = len(samples) - len(unreadable)
    if not judged:
        raise ConvsmithError(f"no image in {data} can be judged", unreadable[0] if unreadable else "there is none")
    figures = results.compute()
    boundary_iou = figures.pop("boundary_iou", None)
    return MaskEvaluation(
        images=judged,
        held_out=held_out,
        **figures,
        boundary_iou=boundary_iou,
        labels=bundle.labels,
        iou=tuple(results.iou().tolist()),
        accuracy=tuple(results.accuracy().tolist()),
        pixels=tuple(results.pixels.tolist()),
        confusion=tuple(tuple(row) for row in results.confusion.tolist()),
        unreadable=tuple(unreadable),
    )
