"""The part that tasks have in common whose models see a square of each image and give a logit for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import scaled
from convsmith.bundle.images.decode import as_pillow, for_eyes
from convsmith.bundle.images.image_error import ImageError, NoAnswer
from convsmith.bundle.runtime import Infer
from convsmith.bundle.task import Said
from convsmith.spec import Preprocess, Preprocessing, Size

if TYPE_CHECKING:
    from convsmith.bundle.format import Manifest
    from convsmith.bundle.segmentation import Colour


class SquareTask:
    """The part of a `Task` that is about the squares and the logits."""

    name: str
    hub_task = "image-classification"
    one_size = True
    says_sets = True
    calibrated_columns: Mapping[str, type] = {}
    counted = "images"
    pictures: Mapping[str, str] = {}

    def check(self, spec: Preprocessing, num_classes: int) -> None:  # noqa: ARG002  # any number will do
        """Raise a ValueError unless a square is cut out."""
        if not isinstance(spec, Preprocess):
            raise ValueError(f"the task {self.name} does not go with the preprocessing {spec.method}")

    def check_image(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int, name: str) -> None:
        """Take it: all are of one size."""

    def first_input(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int) -> NDArray[np.uint8]:  # noqa: ARG002
        """The image, [3, crop, crop]."""
        return image

    def logits_shape(self, num_classes: int, size: Size) -> tuple[int, ...]:  # noqa: ARG002  # any size
        """[K]."""
        return (num_classes,)

    def ask(
        self,
        infer: Infer,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        names: Sequence[str],
        manifest: Manifest,
    ) -> list[Said | ImageError]:
        """The scaled logits [K] of each image, or that they are not finite."""
        logits = scaled(infer(np.asarray(images)), manifest.calibration)
        return [
            row if np.isfinite(row).all() else NoAnswer.of_logits(name) for row, name in zip(logits, names, strict=True)
        ]

    ask_scores = ask  # of a whole image

    def draw(self, answer: Any, image: NDArray[np.uint8], media_type: str) -> bytes:  # noqa: ARG002
        """Nothing: `pictures` is empty."""
        raise AssertionError(f"an answer of {self.name} is not drawn as {media_type}")

    def show(
        self,
        said: Said,  # noqa: ARG002
        target: Any,  # noqa: ARG002
        image: NDArray[np.uint8],
        manifest: Manifest,  # noqa: ARG002
    ) -> list[tuple[str, NDArray[np.uint8]]]:
        """The square that the model sees."""
        return [("what the model sees", np.asarray(as_pillow(for_eyes(image.transpose(1, 2, 0))).convert("RGB")))]

    def legend(self, manifest: Manifest) -> list[tuple[str, Colour]]:  # noqa: ARG002
        """No colours stand for labels."""
        return []
