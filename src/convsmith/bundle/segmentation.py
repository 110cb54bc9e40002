"""The answer of a semantic segmentation to one image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.distance import Distance, to_json
from convsmith.bundle.images.decode import as_pillow, for_eyes
from convsmith.errors import ConvsmithError

Colour = tuple[int, int, int]  # red, green and blue, 0 to 255


class Segmentation:
    """The class of each pixel of one image.

    Args:
        mask: uint8 [H, W], classes below K.
        labels: K names.
        colours: red, green and blue of each class, 0 to 255; None takes those of PASCAL VOC.
        scores: the probability of each pixel's class, [H, W], where it is known.

    Raises:
        ConvsmithError: the mask holds a class that has no label, or the number of colours is not K.

    Examples:
        >>> answer = cs.load("runs/streets").predict("street.png")
        >>> answer.mask.shape
        (9, 15)
        >>> [(it["label"], round(it["share"], 2)) for it in answer.to_dict()["classes"]]
        [('red', 0.67), ('blue', 0.33)]
    """

    def __init__(
        self,
        mask: NDArray[np.uint8],
        labels: tuple[str, ...],
        colours: Sequence[Colour] | None = None,
        scores: NDArray[np.float16] | None = None,
    ) -> None:
        if mask.max() >= len(labels):
            raise ConvsmithError(f"class {mask.max()} has no label", f"there are {len(labels)}")
        if colours is not None and len(colours) != len(labels):
            raise ConvsmithError(f"{len(colours)} colours do not fit {len(labels)} classes")
        self.mask = mask
        """The class of each pixel, uint8 [H, W]."""
        self.scores = scores
        """The probability of each pixel's class, float16 [H, W], of a calibrated bundle; else None."""
        self.labels = labels
        self.meta: Mapping[str, str] = {}
        """The `runtime`, `device` and `provider` that ran; empty where no bundle did."""
        self.distance: Distance | None = None
        """How far the image is from the training images, where the bundle knows it."""
        self._colours = voc_colours(len(labels)) if colours is None else colours
        self._pixels = np.array(Image.fromarray(mask).histogram()[: len(labels)])  # bincount needs 8 bytes a pixel

    def areas(self) -> NDArray[np.float64]:
        """The share of the pixels that each class has, `[K]`; they sum to 1."""
        return self._pixels / self.mask.size

    def to_dict(self, runs: bool = False) -> dict[str, Any]:
        """`{"size": [H, W], "classes": [{"class_id", "label", "pixels", "share"}, ...]}`, ready for JSON.

        Where `scores` are known, each class has the `"score"`, their mean. Classes that the image does not show are
        left out; the largest comes first. `runs` adds the mask itself: `"runs"`, see `to_runs`. A bundle's answer has
        its `"meta"` too.
        """
        answer: dict[str, Any] = {"size": list(self.mask.shape), "classes": [self._entry(i) for i in self._largest()]}
        if runs:
            answer["runs"] = to_runs(self.mask)
        answer |= to_json(self.distance)
        if self.meta:
            answer["meta"] = dict(self.meta)
        return answer

    def index_png(self) -> bytes:
        """An 8-bit PNG with a palette: its pixel values are the classes, its palette their colours."""
        return _png(self._palette_image())

    def overlay(self, image: NDArray[np.uint8], alpha: float = 0.5) -> NDArray[np.uint8]:
        """The colours of the classes over the photo: RGB uint8 [H, W, 3].

        Args:
            image: the photo, uint8 [H, W, C], of which people see `for_eyes`.
            alpha: 0 shows the photo only, 1 the colours only.

        Raises:
            ConvsmithError: the photo has another size than the mask.
        """
        return np.asarray(self._blend(image, alpha))

    def overlay_png(self, image: NDArray[np.uint8], alpha: float = 0.5) -> bytes:
        """`overlay` as a PNG file."""
        return _png(self._blend(image, alpha))

    def __repr__(self) -> str:
        height, width = self.mask.shape
        shares = [f"{self.labels[i]!r} {self.areas()[i]:.1%}" for i in self._largest()]
        return f"Segmentation({width} x {height}, {', '.join(shares)})"

    def _largest(self) -> list[int]:
        """The classes that have pixels, the largest first; of equal ones the lower class."""
        order = np.argsort(-self._pixels, kind="stable")
        return [int(class_id) for class_id in order[: np.count_nonzero(self._pixels)]]

    def _entry(self, class_id: int) -> dict[str, Any]:
        pixels = int(self._pixels[class_id])
        share = pixels / self.mask.size
        entry = {"class_id": class_id, "label": self.labels[class_id], "pixels": pixels, "share": share}
        if self.scores is not None:
            entry["score"] = float(self.scores[self.mask == class_id].mean(dtype=np.float64))
        return entry

    def _palette_image(self) -> Image.Image:
        image = Image.fromarray(self.mask)
        # all 256 entries: with few of them Pillow would write fewer than 8 bits a pixel
        image.putpalette(bytes(value for colour in self._colours for value in colour).ljust(3 * 256, b"\0"))
        return image

    def _blend(self, image: NDArray[np.uint8], alpha: float) -> Image.Image:
        if image.shape[:2] != self.mask.shape:
            raise ConvsmithError(
                "the overlay does not fit", f"the mask has the size {self.mask.shape}, the image {image.shape[:2]}"
            )
        return Image.blend(as_pillow(for_eyes(image)), self._palette_image().convert("RGB"), alpha)


def voc_colours(num_classes: int) -> list[Colour]:
    """The first colours of PASCAL VOC, whose class 0 is black: at most 256.

    Three bits of the class at a time, from the lowest, become bits of red, green and blue, from the highest
    (VOCcode/VOClabelcolormap.m of the development kit).
    """
    classes = np.arange(num_classes)
    colours = np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((classes >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return [(red, green, blue) for red, green, blue in colours.tolist()]


def to_runs(mask: NDArray[np.uint8]) -> list[list[int]]:
    """A mask [H, W] as `[[class_id, length], ...]`: how many pixels in a row have a class, row after row.

    A run may go on in the next row.
    """
    values = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    lengths = np.diff(starts, append=len(values))
    return np.stack([values[starts], lengths], axis=1).tolist()  # type: ignore[no-any-return]


def from_runs(runs: list[list[int]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask [H, W] of `to_runs`, where `size` is height and width.

    Raises:
        ConvsmithError: these are not runs, or they do not fill the size.
    """
    try:
        pairs = np.array(runs)
    except ValueError as error:
        raise _no_runs("they are not pairs") from error
    if pairs.shape[1:] != (2,) or not np.issubdtype(pairs.dtype, np.integer):
        raise _no_runs("they are not pairs of integers")
    classes, lengths = pairs.T
    if classes.min() < 0 or classes.max() > 255 or lengths.min() < 1:
        raise _no_runs("classes are 0 to 255, and lengths at least 1")
    if sum(lengths.tolist()) != size[0] * size[1]:
        raise _no_runs(f"they have {sum(lengths.tolist())} pixels, and {size[0]} x {size[1]} are wanted")
    return np.repeat(classes.astype(np.uint8), lengths).reshape(size)


def _no_runs(why: str) -> ConvsmithError:
    return ConvsmithError("cannot read the runs of a mask", why)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
