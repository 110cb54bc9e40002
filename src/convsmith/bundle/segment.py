"""How an image of any size becomes a mask: the same in validation, predict and serve. Needs no torch.

The procedure is HRNet's (lib/datasets/base_dataset.py, cityscapes.py and lip.py of the branch HRNet-OCR), which
published accuracies were measured with. The image is looked at in one or several sizes, each of them at once or window
by window, mirrored too where the spec says so. The powers exp(logits) are averaged where windows overlap, brought to
the image's size, and summed over the sizes; the class with the largest sum wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.bilinear import Bilinear, strips
from convsmith.bundle.decode import ImageTooLarge, NoAnswer
from convsmith.errors import ConvsmithError
from convsmith.spec import WholeImage, Window

Run = Callable[[NDArray[Any]], NDArray[np.float32]]
"""A model: images [N, 3, h, w] to logits [N, K, h, w], already of the images' size. What it returns stays as it is."""

MAX_PASS_PIXELS = 4096 * 4096
"""What a model may look at in one go: its features cost far more memory than the image does."""
MAX_SCORES = 2**29
"""Classes times pixels, of all sizes that an image is looked at in together: 2 GiB."""
_MAX_LOGIT = 80.0  # exp(88.8) is infinite in float32, and sums of many windows and sizes need room


def segment(
    image: NDArray[np.uint8], spec: WholeImage, run: Run, num_classes: int, name: str = "image"
) -> NDArray[np.uint8]:
    """The class of each pixel, [H, W], of RGB pixels [H, W, 3] in 0 to 255.

    Of equal scores the lower class wins. Resized images are rounded to bytes, and what windows show beyond the border
    is black. Scores of the image's own size are made for some rows at a time only, so that a large image costs little
    more memory than what the model looks at.

    Args:
        run: gets uint8 [1, 3, h, w]; normalisation is part of the model.
        num_classes: K, at most 255; by it an image is refused before the model runs.
        name: what an error calls the image.

    Raises:
        ImageTooLarge: the model would see more than `MAX_PASS_PIXELS` at a time, or give more than `MAX_SCORES`.
        NoAnswer: the model's logits are not finite.
        ConvsmithError: they have another shape than its input asks for.
    """
    size = image.shape[:2]
    sizes = allowed_sizes(size, spec, num_classes, name)
    looks = _Looks(spec, run, num_classes, np.zeros(3, np.uint8), name)
    window = _window(spec, spec.scales[0])
    if sizes == [size] and len(parts := _parts(size, window)) == 1:
        return argmax_classes(looks.logits(_planes(image), parts[0], window))  # exp would not change their order
    answers = looks.answers(image, sizes)
    mask = np.empty(size, np.uint8)
    for rows in strips(*size):
        mask[rows] = argmax_classes(_summed(answers, class_id, rows) for class_id in range(num_classes))
    return mask


def summed_scores(
    image: NDArray[Any],
    spec: WholeImage,
    run: Run,
    num_classes: int,
    padding: Sequence[float] = (0, 0, 0),
    name: str = "image",
) -> NDArray[np.float32]:
    """The scores [K, H, W] whose largest decides in `segment`: sums of exp(logits), not probabilities.

    Logits above 80 count as 80, since float32 overflows at 89. Unlike `segment` this holds all scores at once.

    Args:
        image: uint8 [H, W, 3], as `segment` takes it; or float32 [H, W, 3] that is normalised, which `run` gets as
            float32, and which is not rounded where it is resized.
        padding: what windows show beyond the border, for each channel; of a normalised image black is -mean / std.

    Raises:
        ImageTooLarge, NoAnswer, ConvsmithError: as in `segment`.
    """
    size = image.shape[:2]
    sizes = allowed_sizes(size, spec, num_classes, name)
    answers = _Looks(spec, run, num_classes, np.asarray(padding, image.dtype), name).answers(image, sizes)
    scores = np.empty((num_classes, *size), np.float32)
    for rows in strips(*size):
        scores[:, rows] = _summed(answers, slice(None), rows)
    return scores


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


_Size = tuple[int, int]  # height and width
_Part = tuple[slice, slice]  # rows and columns
_Answer = tuple[Bilinear, NDArray[np.float32]]  # exp(logits) of one size, and the way from there to the image's size


@dataclass(frozen=True)
class _Looks:
    """What all looks at an image have in common."""

    spec: WholeImage
    run: Run
    num_classes: int
    padding: NDArray[Any]
    name: str

    def answers(self, image: NDArray[Any], sizes: list[_Size]) -> list[_Answer]:
        planes = _planes(image)
        answers = []
        for scale, size in zip(self.spec.scales, sizes, strict=True):
            powers = self._powers(_resized(planes, size), _window(self.spec, scale))
            answers.append((Bilinear(size, image.shape[:2], self.spec.align_corners), powers))
        return answers

    def logits(self, planes: NDArray[Any], part: _Part, window: Window | None) -> Iterator[NDArray[np.float32]]:
        """The logits [h, w] of one part of the image [3, H, W], class by class: large arrays cost time."""
        seen = planes[:, *part]
        height, width = seen.shape[1:]
        if window and window.border == "pad" and (height, width) != window.size:
            padded = np.empty((3, *window.size), planes.dtype)
            padded[:] = self.padding[:, None, None]
            padded[:, :height, :width] = seen
            seen = padded
        logits = self._run(seen)
        mirrored = self._run(seen[..., ::-1])[..., ::-1] if self.spec.flip else None
        partner = list(range(self.num_classes))
        for one, other in self.spec.mirrored_classes:
            partner[one], partner[other] = other, one
        for class_id in range(self.num_classes):
            plane = logits[class_id, :height, :width]
            if mirrored is not None:
                plane = plane + mirrored[partner[class_id], :height, :width]
                plane *= 0.5
            if not (np.isfinite(plane.max()) and np.isfinite(plane.min())):
                raise NoAnswer.of_logits(self.name)
            yield plane

    def _powers(self, planes: NDArray[Any], window: Window | None) -> NDArray[np.float32]:
        """exp(logits) [K, H, W], averaged where windows overlap."""
        size = planes.shape[1:]
        parts = _parts(size, window)
        total = np.zeros((self.num_classes, *size), np.float32)
        count = np.zeros(size, np.float32)
        for part in parts:
            for class_id, plane in enumerate(self.logits(planes, part, window)):
                powers = np.minimum(plane, np.float32(_MAX_LOGIT))
                total[class_id, *part] += np.exp(powers, out=powers)
            count[part] += 1
        if len(parts) > 1:
            total /= count
        return total

    def _run(self, seen: NDArray[Any]) -> NDArray[np.float32]:
        batch = self.run(seen[None].copy())  # torch takes no mirrored view
        if batch.shape != (1, self.num_classes, *seen.shape[1:]):
            raise ConvsmithError(
                "the model does not fit",
                f"of {self.num_classes} classes and an image {seen.shape} it gives logits {batch.shape}",
            )
        logits: NDArray[np.float32] = batch[0]
        return logits


def allowed_sizes(size: tuple[int, int], spec: WholeImage, num_classes: int, name: str = "image") -> list[_Size]:
    """The size of an image at each scale, if the model may look at all of them.

    Raises:
        ImageTooLarge: as in `segment`.
    """
    longs = [int((spec.base_size or max(size)) * scale + 0.5) for scale in spec.scales]
    sizes = [(long, long) if spec.warp else resized_size(*size, long) for long in longs]
    fix = "Choose a smaller `base_size` or smaller `scales`." if spec.base_size else "Scale it down first."
    for scale, (height, width) in zip(spec.scales, sizes, strict=True):
        if _window(spec, scale) is None and height * width > MAX_PASS_PIXELS:
            raise ImageTooLarge(
                f"{name} is too large",
                f"the model would look at {width} x {height} pixels at once; {MAX_PASS_PIXELS} are allowed",
                fix,
            )
    pixels = sum(height * width for height, width in sizes)
    if num_classes * pixels > MAX_SCORES:
        raise ImageTooLarge(
            f"{name} is too large",
            f"{num_classes} classes for {pixels} pixels are {num_classes * pixels} scores; {MAX_SCORES} are allowed",
            fix,
        )
    return sizes


def _window(spec: WholeImage, scale: float) -> Window | None:
    """Through which windows the image is looked at in this scale; None: at once."""
    return spec.window if spec.window and scale > spec.window.above_scale else None


def _parts(size: _Size, window: Window | None) -> list[_Part]:
    """Where the windows lie, row by row; the last ones end at the border."""
    if window is None:
        return [(slice(0, size[0]), slice(0, size[1]))]
    stride = window.stride or (max(1, window.size[0] * 2 // 3), max(1, window.size[1] * 2 // 3))
    rows, columns = (
        _spans(length, side, step, window.border == "shift")
        for length, side, step in zip(size, window.size, stride, strict=True)
    )
    return [(down, across) for down in rows for across in columns]


def _spans(length: int, side: int, step: int, shift: bool) -> list[slice]:
    """Windows along one side of an image, from its start until one reaches its end."""
    last = max(0, length - side)
    starts = [*range(0, last, step), -(-last // step) * step]
    return [slice(min(start, last) if shift else start, min(start + side, length)) for start in starts]


def _planes(image: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _resized(planes: NDArray[Any], size: _Size) -> NDArray[Any]:
    """[3, h, w] as [3, *size] of the same type; bytes are rounded."""
    if planes.shape[1:] == size:
        return planes
    way = Bilinear((planes.shape[1], planes.shape[2]), size)
    resized = np.empty((3, *size), planes.dtype)
    for rows in strips(*size):
        part = way.rows(planes, rows)
        resized[:, rows] = np.rint(part, out=part) if planes.dtype == np.uint8 else part
    return resized


def _summed(answers: list[_Answer], classes: int | slice, rows: slice) -> NDArray[np.float32]:
    """Some rows of the scores of a class [rows, W], or of some [K, rows, W]."""
    return reduce(np.add, (way.rows(powers[classes], rows) for way, powers in answers))
