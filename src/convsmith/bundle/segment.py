"""How an image of any size becomes a mask: the same in validation, predict and serve. Needs no torch.

The procedure is HRNet's (lib/datasets/base_dataset.py, cityscapes.py and lip.py of the branch HRNet-OCR), which
published accuracies were measured with. The image is looked at in one or several sizes, each of them at once or window
by window, mirrored too where the spec says so. The powers exp(logits) are averaged where windows overlap, brought to
the image's size, and summed over the sizes; the class with the largest sum wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.bilinear import Bilinear, strips
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.runtime import Infer
from convsmith.bundle.scores import Looks, Powers, Size, padded, resized, spans
from convsmith.spec import WholeImage, Window

MAX_PASS_PIXELS = 4096 * 4096
"""Pixels that a model may look at in one go: its features cost far more memory than the image does."""
MAX_SCORES = 2**29
"""Classes times pixels that are held of all looks without windows together, and as many of those by windows: 2 GiB."""


def segment(
    image: NDArray[np.uint8], spec: WholeImage, run: Infer, num_classes: int, name: str = "image"
) -> NDArray[np.uint8]:
    """The class of each pixel, [H, W], of pixels [H, W, C] in 0 to 255.

    Between equal scores the lower class wins. Resized images are rounded to bytes, and what windows show beyond the
    border is black. Scores of the image's own size are made for some rows at a time only, and what windows show is kept
    as long as others overlap it, so that a large image costs little more memory than what the model looks at.

    Args:
        run: gets uint8 [1, C, h, w]; normalisation is part of the model.
        num_classes: K, at most 255; by it an image is refused before the model runs.
        name: what an error calls the image.

    Raises:
        ImageTooLarge: without windows the model would see more than `MAX_PASS_PIXELS` at a time, or give more than
            `MAX_SCORES`; or it would give more than that for a single window.
        NoAnswer: the model's logits are not finite.
        ConvsmithError: they have another shape than its input asks for.
    """
    mask = np.empty(image.shape[:2], np.uint8)
    for part in scored_parts(image, spec, run, num_classes, name=name):
        mask[part.rows, part.columns] = argmax_classes(part.planes)
    return mask


@dataclass(frozen=True)
class ScoredPart:
    """The scores of some rows and columns of an image, by which each pixel's class is chosen.

    Attributes:
        rows, columns: of the image.
        planes: one [rows, columns] for each of K classes, made as they are asked for.
        are_logits: they are logits; False: sums of exp(logits) over the looks, where logits above 80 count as 80, since
            float32 overflows at 89.
    """

    rows: slice
    columns: slice
    planes: Iterator[NDArray[np.float32]]
    are_logits: bool = False


def scored_parts(
    image: NDArray[Any],
    spec: WholeImage,
    run: Infer,
    num_classes: int,
    padding: Sequence[float] = (0,),
    *,
    name: str = "image",
) -> Iterator[ScoredPart]:
    """Judge an image part by part, from the top; take a part's planes before the next part.

    Args:
        image: uint8 [H, W, 3], as `segment` takes it; or float32 [H, W, 3] that is normalised, which `run` gets as
            float32, and which is not rounded where it is resized.
        padding: what windows show beyond the border, in each channel or in all; of a normalised image
            black is -mean / std.

    Raises:
        ImageTooLarge, NoAnswer, ConvsmithError: as in `segment`.
    """
    size = image.shape[:2]
    sizes = allowed_sizes(size, spec, num_classes, name)
    looks = Looks(_planes(image), spec, run, num_classes, np.asarray(padding, image.dtype), name)
    windows = [_window(spec, scale) for scale in spec.scales]
    if sizes == [size] and list(map(len, spans(size, windows[0]))) == [1, 1]:
        yield ScoredPart(slice(0, size[0]), slice(0, size[1]), looks.logits(looks.planes, windows[0]), are_logits=True)
        return
    ways = [Bilinear(small, size, spec.align_corners) for small in sizes]
    at_once = {i: Powers(looks, seen, None, slice(0, seen[1])) for i, seen in enumerate(sizes) if windows[i] is None}
    for columns in _parts(size, sizes, windows, num_classes):
        answers = [
            (way, at_once.get(i) or Powers(looks, sizes[i], windows[i], way.source_columns(columns)))
            for i, way in enumerate(ways)
        ]
        for rows in strips(size[0], columns.stop - columns.start):
            for way, powers in answers:
                powers.reach(way.source_rows(rows))
            yield ScoredPart(rows, columns, _summed(answers, num_classes, rows, columns))


def first_look(image: NDArray[np.uint8], spec: WholeImage, num_classes: int, name: str = "image") -> NDArray[np.uint8]:
    """The first look of the model when an image [H, W, C] is segmented, [C, h, w]: resized, and through a window.

    Raises:
        ImageTooLarge: as in `segment`.
    """
    size = allowed_sizes(image.shape[:2], spec, num_classes, name)[0]
    window = _window(spec, spec.scales[0])
    rows, columns = (parts[0] for parts in spans(size, window))
    seen = resized(_planes(image), size, rows)[..., columns]
    return np.ascontiguousarray(padded(seen, window, np.zeros(1, np.uint8)))


def argmax_classes(planes: Iterable[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """The class with the largest score, [H, W], of the planes [H, W] of K classes; of equal ones the lower class.

    A running maximum, eight times as fast as numpy's argmax over the first axis.
    """
    remaining = iter(planes)
    best = next(remaining).copy()
    winner = np.zeros(best.shape, np.uint8)
    for class_id, plane in enumerate(remaining, start=1):
        better = (plane > best).view(np.uint8)
        better *= np.uint8(class_id)
        np.maximum(winner, better, out=winner)  # classes rise: the last one that was better is the largest
        np.maximum(best, plane, out=best)
    return winner


def resized_size(height: int, width: int, long: int) -> tuple[int, int]:
    """Height and width of an image whose longer side becomes `long`; halves are rounded up, and a pixel remains."""
    longer = max(height, width)
    return max(1, int(height * long / longer + 0.5)), max(1, int(width * long / longer + 0.5))


def allowed_sizes(size: tuple[int, int], spec: WholeImage, num_classes: int, name: str = "image") -> list[Size]:
    """The size of an image at each scale, if the model may look at all of them.

    Raises:
        ImageTooLarge: as in `segment`.
    """
    longs = [int((spec.base_size or max(size)) * scale + 0.5) for scale in spec.scales]
    sizes = [(long, long) if spec.warp else resized_size(*size, long) for long in longs]
    smaller = "Choose a smaller `base_size` or smaller `scales`" if spec.base_size else "Scale it down first"
    fix = f"{smaller}, or look at it through a `window`."
    pixels = 0
    for scale, (height, width) in zip(spec.scales, sizes, strict=True):
        window = _window(spec, scale)
        if window is not None:
            rows, columns = (min(pair) for pair in zip(window.size, (height, width), strict=True))
            _check_scores(num_classes, rows * columns, name, "Choose a smaller `window`.")
            continue
        if height * width > MAX_PASS_PIXELS:
            raise ImageTooLarge(
                f"{name} is too large",
                f"the model would look at {width} x {height} pixels at once; {MAX_PASS_PIXELS} are allowed",
                fix,
            )
        pixels += height * width
    _check_scores(num_classes, pixels, name, fix)
    return sizes


def _check_scores(num_classes: int, pixels: int, name: str, fix: str) -> None:
    """Raise an ImageTooLarge if a model's answer of so many pixels cannot be held."""
    if num_classes * pixels > MAX_SCORES:
        raise ImageTooLarge(
            f"{name} is too large",
            f"{num_classes} classes for {pixels} pixels at once are {num_classes * pixels} scores; {MAX_SCORES} are "
            "allowed",
            fix,
        )


def _window(spec: WholeImage, scale: float) -> Window | None:
    """Through which windows the image is looked at in this scale; None: at once."""
    return spec.window if spec.window and scale > spec.window.above_scale else None


def _parts(size: Size, sizes: Sequence[Size], windows: Sequence[Window | None], num_classes: int) -> Iterator[slice]:
    """The columns of an image that are judged together: all, but where windows across it give too many scores.

    Windows that reach over the border between two parts are looked at for both.
    """
    strip = next(strips(*size)).stop
    held = sum(
        min(height, window.size[0] + strip * height // size[0] + 2) * width
        for (height, width), window in zip(sizes, windows, strict=True)
        if window
    )
    step = -(-size[1] // max(1, -(-num_classes * held // MAX_SCORES)))
    return (slice(left, min(left + step, size[1])) for left in range(0, size[1], step))


def _planes(image: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _summed(
    answers: Sequence[tuple[Bilinear, Powers]], num_classes: int, rows: slice, columns: slice
) -> Iterator[NDArray[np.float32]]:
    """Some rows and columns of the image's scores, class by class; they have been reached."""
    for class_id in range(num_classes):
        yield reduce(
            np.add,
            (
                way.part(powers.part(class_id, way.source_rows(rows), way.source_columns(columns)), rows, columns)
                for way, powers in answers
            ),
        )
