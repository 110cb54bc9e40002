"""The images that a recipe can judge a segmentation by."""

from __future__ import annotations

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.segment import allowed_sizes
from convsmith.spec import Preprocessing, whole_image


def check_val_size(height: int, width: int, preprocess: Preprocessing, num_classes: int, name: str = "image") -> None:
    """Raise an ImageTooLarge, which names the recipe's keys, if an image of this size cannot be judged by."""
    spec = whole_image(preprocess)
    try:
        allowed_sizes((height, width), spec, num_classes, name)
    except ImageTooLarge as error:
        smaller = "set a smaller preprocess.base_size or preprocess.scales" if spec.base_size else "scale it down"
        fix = f"Look at it in parts, as with preprocess.window.size='[1024, 1024]', or {smaller}."
        if spec.window:
            fix = "Set a smaller preprocess.window.size."
        raise ImageTooLarge(error.what, error.why, fix) from error
