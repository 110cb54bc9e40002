"""Semantic segmentation: one class for each pixel."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field

from convsmith.bundle.distance import Distance
from convsmith.bundle.figures.evaluation import Evaluation, between
from convsmith.bundle.figures.segmentation_evaluation import MORE, SegmentationEvaluation
from convsmith.bundle.figures.segmentation_metrics import SegmentationResults
from convsmith.bundle.images.decode import as_pillow, for_eyes
from convsmith.bundle.images.image_error import ImageError, NoAnswer
from convsmith.bundle.runtime import Infer
from convsmith.bundle.segment import allowed_sizes, first_look, scored_parts, segment
from convsmith.bundle.segment_scored import as_logits, mask_of, scores_of, segment_scored
from convsmith.bundle.segmentation import Colour, Segmentation, voc_colours
from convsmith.bundle.task import Results, Said, Table
from convsmith.devices import Place
from convsmith.errors import ConvsmithError
from convsmith.spec import IGNORED, Preprocessing, Size, WholeImage, whole_image

if TYPE_CHECKING:
    from convsmith.bundle.format import Manifest

PNG, JPEG = "image/png", "image/jpeg"
_ENOUGH = 32  # pixels of a side; some models have a stride that large
_STRIDE = 8  # two forms are compared, and scores are calibrated, in each eighth row and column


class ClassArea(BaseModel):
    """How much of the image a class has."""

    class_id: int
    label: str
    pixels: int
    share: float
    score: float | None = Field(None, description="Of a calibrated bundle: the mean probability of these pixels.")


class MaskAnswer(BaseModel):
    """The class of each pixel."""

    size: tuple[int, int] = Field(description="Height and width.")
    classes: list[ClassArea] = Field(description="Those that the image shows, the largest first.")
    runs: list[tuple[int, int]] = Field(description="[class_id, length] of pixels in a row, row after row.")
    distance: Distance | None = Field(None, description="How far it is from the training images, if that is known.")
    meta: Place


class SegmentationTask:
    """Whole images of any size; the class of each pixel is the answer."""

    metrics: tuple[str, ...] = ("miou", "mean_accuracy", "pixel_accuracy")
    hub_task = "image-segmentation"
    one_size = False
    counted = "pixels"
    exclusive = True
    own_classes = True
    says_sets = says_unknown = False
    schema: type[BaseModel] = MaskAnswer
    pictures: Mapping[str, str] = {PNG: ".png", JPEG: ".overlay.jpg"}
    listed = False
    csv_columns: Mapping[str, type] = {"class_id": int, "label": str, "pixels": int, "share": float}
    calibrated_columns: Mapping[str, type] = {"score": float}

    def check(self, spec: Preprocessing, num_classes: int) -> None:
        """Raise a ValueError unless the image is looked at as a whole, and mirrored classes are classes."""
        if not isinstance(spec, WholeImage):
            raise ValueError(f"the task segmentation does not go with the preprocessing {spec.method}")
        spec.check_classes(num_classes)

    def check_image(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int, name: str) -> None:
        """Raise an ImageTooLarge for what the model may not look at, or whose answer cannot be held."""
        allowed_sizes((image.shape[1], image.shape[2]), whole_image(spec), num_classes, name)

    def first_input(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int) -> NDArray[np.uint8]:
        """The image in its first size and through its first window; an ImageTooLarge as above."""
        return first_look(image.transpose(1, 2, 0), whole_image(spec), num_classes)

    def logits_shape(self, num_classes: int, size: Size) -> tuple[int, ...]:
        """[K, H, W]."""
        return num_classes, *size

    def ask(
        self,
        infer: Infer,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        names: Sequence[str],
        manifest: Manifest,
    ) -> list[Said | ImageError]:
        """The classes of the pixels [H, W] of each image, or why there are none; with probabilities if calibrated."""
        return _ask_each(_classes, infer, images, names, manifest)

    def ask_scores(
        self,
        infer: Infer,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        names: Sequence[str],
        manifest: Manifest,
    ) -> list[Said | ImageError]:
        """The logits of each eighth row and column `[K, h, w]`; of several looks, of their mean exp(logits)."""
        return _ask_each(_thin_scores, infer, images, names, manifest)

    def pair(self, scores: Said, target: Any, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A row for each of these pixels that counts."""
        true = target[::_STRIDE, ::_STRIDE].ravel()
        counts = true != IGNORED
        return scores.reshape(num_classes, -1).T[counts], true[counts, None] == np.arange(num_classes)

    def answer(self, said: Said, manifest: Manifest) -> Segmentation:
        """The mask."""
        return Segmentation(mask_of(said), manifest.labels, manifest.colours, scores_of(said))

    def shares(self, answer: Segmentation) -> NDArray[np.float64]:
        """The share of the pixels that each class has."""
        return answer.areas()

    def certainty(self, answer: Segmentation) -> float | None:
        """The mean probability of the pixels' classes, of a calibrated bundle."""
        return None if answer.scores is None else float(answer.scores.mean(dtype=np.float32))

    def decisions(self, said: Said, manifest: Manifest) -> NDArray[Any]:  # noqa: ARG002
        """The classes of each eighth row and column."""
        return mask_of(said)[::_STRIDE, ::_STRIDE].copy()

    def new_results(self, manifest: Manifest) -> SegmentationResults:
        """An empty collection."""
        return SegmentationResults(len(manifest.labels))

    def new_evaluation(self, manifest: Manifest, *, boundary: bool = False) -> SegmentationEvaluation:
        """An empty collection."""
        return SegmentationEvaluation(len(manifest.labels), boundary)

    def figures(self, results: Results) -> dict[str, float | None]:
        """The metrics, what `SegmentationEvaluation` has besides, and boundaries: None where they were not measured."""
        found = results.compute()
        return {name: found.get(name) for name in (*self.metrics, *MORE, "boundary_iou")}

    def tabulate(self, evaluation: Evaluation) -> Table:
        """Means over all classes; of each class its share of the pixels, IoU and the fraction right."""
        words = {
            "miou": "mIoU",
            "dice": "Dice",
            "mean_accuracy": "mean accuracy",
            "pixel_accuracy": "pixel accuracy",
            "boundary_iou": "boundary IoU",
        }
        figures = [(word, evaluation.figures[name]) for name, word in words.items()]
        pixels, iou, right = (evaluation.classes[name] for name in ("pixels", "iou", "accuracy"))
        total, absent = sum(count or 0 for count in pixels), pixels.count(0)
        shares = {
            "pixels": [count and count / total for count in pixels],
            "IoU": [count and share for count, share in zip(pixels, iou, strict=True)],
            "right": [count and share for count, share in zip(pixels, right, strict=True)],
        }
        cells = {
            title: [f"{share:.2%}" if count else "" for count, share in zip(pixels, values, strict=True)]
            for title, values in shares.items()
        }
        remark = f"Classes without pixels there count as 0 in the means: {absent} of {len(pixels)}."
        headline = [f"{word} {value:.2%}" for word, value in figures if value is not None]
        headline[0] += between(evaluation.intervals.get("miou"))
        return Table(headline, cells, remarks=[remark] if absent else [])

    def to_json(self, answer: Segmentation, top: int | None = None) -> dict[str, Any]:
        """All keys of `MaskAnswer`; all classes that the image shows unless told otherwise."""
        return _cut(answer.to_dict(runs=True), top)

    def summary(self, answer: Segmentation, top: int | None = None) -> dict[str, Any]:
        """The same without the mask."""
        return _cut(answer.to_dict(), top)

    def entries(self, answer: Segmentation, top: int | None = None) -> list[tuple[str, str]]:
        """Share and label of the classes, the largest first."""
        return [(f"{entry['share']:.1%}", entry["label"]) for entry in self.summary(answer, top)["classes"]]

    def csv_rows(self, answer: Segmentation, top: int | None = None) -> list[tuple[Any, ...]]:
        """A row for each class, the largest first."""
        return [tuple(entry.values()) for entry in self.summary(answer, top)["classes"]]

    def draw(self, answer: Segmentation, image: NDArray[np.uint8], media_type: str) -> bytes:
        """A PNG of the classes with a palette, or a JPEG of the image with the classes' colours over it."""
        if media_type == PNG:
            return answer.index_png()
        file = io.BytesIO()
        Image.fromarray(answer.overlay(image.transpose(1, 2, 0))).save(file, "JPEG", quality=90)
        return file.getvalue()

    def show(
        self, said: Said, target: Any, image: NDArray[np.uint8], manifest: Manifest
    ) -> list[tuple[str, NDArray[np.uint8]]]:
        """The image, and the colours of the classes over it as they are true and as they were said.

        Pixels that do not count are left as they are, and in a last picture those stand out that are wrong.
        """
        plain, said = np.asarray(as_pillow(for_eyes(image.transpose(1, 2, 0))).convert("RGB")), mask_of(said)
        colours = np.zeros((IGNORED + 1, 3), np.uint8)
        colours[: len(manifest.labels)] = [colour for _, colour in self.legend(manifest)]
        counts = target != IGNORED
        over = {
            name: np.where(shown[..., None], plain // 2 + colours[mask] // 2, plain)
            for name, mask, shown in (("true", target, counts), ("said", said, np.ones_like(counts)))
        }
        grey = np.repeat(plain.mean(axis=2, keepdims=True) * 0.6 + 90, 3, axis=2).astype(np.uint8)
        wrong = np.where((counts & (said != target))[..., None], colours[said], grey)
        return [("image", plain), *over.items(), ("wrong pixels, as they were said", wrong)]

    def legend(self, manifest: Manifest) -> list[tuple[str, Colour]]:
        """The colours of the bundle's classes."""
        colours = manifest.colours or voc_colours(len(manifest.labels))
        return list(zip(manifest.labels, colours, strict=True))


def _classes(image: NDArray[np.uint8], infer: Infer, manifest: Manifest, name: str) -> Said:
    spec, num_classes = whole_image(manifest.preprocess), len(manifest.labels)
    pixels, calibration = image.transpose(1, 2, 0), manifest.calibration
    if calibration is None:
        return segment(pixels, spec, infer, num_classes, name)
    return segment_scored(pixels, spec, infer, num_classes, calibration, name=name)


def _thin_scores(image: NDArray[np.uint8], infer: Infer, manifest: Manifest, name: str) -> Said:
    """The logits of each eighth row and column, [K, h, w]."""
    spec, num_classes = whole_image(manifest.preprocess), len(manifest.labels)
    _, height, width = image.shape
    found = np.empty((num_classes, height, width), np.float32)[:, ::_STRIDE, ::_STRIDE].copy()
    for part in scored_parts(image.transpose(1, 2, 0), spec, infer, num_classes, name=name):
        rows, columns = (slice(-(-it.start // _STRIDE) * _STRIDE, it.stop, _STRIDE) for it in (part.rows, part.columns))
        place = (
            slice(rows.start // _STRIDE, -(-rows.stop // _STRIDE)),
            slice(columns.start // _STRIDE, -(-columns.stop // _STRIDE)),
        )
        for class_id, plane in enumerate(part.planes):
            thin = plane[rows.start - part.rows.start :: _STRIDE, columns.start - part.columns.start :: _STRIDE]
            found[class_id][place] = as_logits(thin, part)
    return found


def _ask_each(
    ask: Callable[[NDArray[np.uint8], Infer, Manifest, str], Said],
    infer: Infer,
    images: Iterable[NDArray[np.uint8]],
    names: Iterable[str],
    manifest: Manifest,
) -> list[Said | ImageError]:
    """The result of `ask` for each image, or why there is none."""
    said: list[Said | ImageError] = []
    for image, name in zip(images, names, strict=True):
        try:
            said.append(ask(image, _named(infer, name), manifest, name))
        except ImageError as error:
            said.append(error)
    return said


def _named(infer: Infer, name: str) -> Infer:
    """The same model, whose errors are those of an image."""

    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        try:
            return infer(images)
        except ImageError:
            raise
        except ConvsmithError as error:
            height, width = images.shape[2:]
            if min(height, width) >= _ENOUGH:
                raise NoAnswer(f"the model gives no answer for {name}", error.what, error.why) from error
            size = f"the model cannot run on {width} x {height} pixels"
            raise ImageError(f"{name} is too small", size, "Enlarge it first.") from error

    return run


def _cut(answer: dict[str, Any], top: int | None) -> dict[str, Any]:
    return {**answer, "classes": answer["classes"][:top]}


TASK = SegmentationTask()
