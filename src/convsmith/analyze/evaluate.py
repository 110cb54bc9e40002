"""A bundle against labelled images. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from convsmith.analyze.evaluate_masks import evaluate_masks
from convsmith.bundle.classification import Classification
from convsmith.bundle.classification_metrics import ClassificationResults
from convsmith.bundle.decode import ImageError
from convsmith.data.open_data import judged_by
from convsmith.data.stream import Stream
from convsmith.deploy.format import open_bundle
from convsmith.errors import ConvsmithError


@dataclass(frozen=True)
class Evaluation:
    """What a bundle gets right.

    Attributes:
        images: number of images that were judged.
        held_out: whether they are the validation images of the data that the bundle was trained on.
        top1: fraction of images whose label has the highest score.
        top5: fraction of images whose label is among the five highest.
        balanced_accuracy: mean of `per_class`, classes without images left out.
        loss: mean cross-entropy.
        labels: class names, in the bundle's order.
        per_class: fraction right of each class, None for a class without images.
        confusion: counts [K][K], rows true and columns predicted.
        unreadable: one line for each image that was left out.
    """

    images: int
    held_out: bool
    top1: float
    top5: float
    balanced_accuracy: float
    loss: float
    labels: tuple[str, ...]
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    unreadable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def evaluate_bundle(
    bundle: str | Path,
    data: str | Path,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
    *,
    boundary: bool = False,
    looking: Mapping[str, Any] | None = None,
    allow_code: bool = False,
) -> Any:
    """Judge a bundle by labelled images: of a classifier, in folders named like its labels; of segmentation, by masks.

    Returns:
        An `Evaluation`, or a `MaskEvaluation` of segmentation.

    Args:
        bundle: the bundle's folder, of any format, or the run directory that it is in.
        data: the folder that the bundle was trained on, of which only the validation images are judged, split as in
            training; or another one, judged by `data/val/LABEL/*` where there is a `val`, else by `data/LABEL/*` (see
            `evaluate_masks` for segmentation).
        batch_size: images of a classifier in one forward pass; it changes speed, not results.
        progress: called with how many images are done, of how many.
        boundary: of segmentation, measure Boundary IoU too.
        looking: of segmentation, how to look at images instead of the bundle's own way, see `Bundle.looking`.
        allow_code: run a bundle that may hold code, such as TorchScript, with the rights of this process.

    Raises:
        ConvsmithError: bundle or data cannot be used, the bundle may hold code and that is not allowed,
            or not one image can be read.
    """
    opened = open_bundle(Path(bundle), allow_code=allow_code)
    if looking:
        opened = opened.looking(**looking)
    if opened.manifest.task == "segmentation":
        return evaluate_masks(opened, Path(data), boundary, progress)
    if boundary:
        raise ConvsmithError("boundaries are measured of masks", "this bundle is a classifier")
    samples, held_out = judged_by(opened.manifest, Path(data))
    results, unreadable = ClassificationResults(), []
    images = (cast(IO[bytes], Stream(samples.contents(i)[0])) for i in range(len(samples)))
    answers = opened.predict_many(images, batch_size)
    for i, answer in enumerate(answers):
        if isinstance(answer, ImageError):
            unreadable.append(f"{answer.what}: {answer.why}")
        else:
            assert isinstance(answer, Classification)
            results.update(answer.logits[None], samples.targets[i : i + 1])
        if progress:
            progress(i + 1, len(samples))
    judged = len(samples) - len(unreadable)
    if not judged:
        raise ConvsmithError(f"no image in {data} can be judged", unreadable[0] if unreadable else "there is none")
    confusion = results.confusion_matrix(len(opened.labels))
    counts, right = confusion.sum(axis=1), np.diag(confusion)
    return Evaluation(
        images=judged,
        held_out=held_out,
        **results.compute(),
        labels=opened.labels,
        per_class=tuple(float(r / n) if n else None for r, n in zip(right, counts, strict=True)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        unreadable=tuple(unreadable),
    )
