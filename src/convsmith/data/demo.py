"""Real images that come with this package: handwritten digits, as an image folder."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.decode import read_image
from convsmith.bundle.images.image_error import ImageError
from convsmith.data.split import Share, split_files
from convsmith.errors import ConvsmithError, printable

VAL_FRACTION = 0.2


def write_digits(out: Path) -> dict[str, int]:
    """Write 1,797 handwritten digits as `OUT/train/DIGIT/NNNN.png` and `OUT/val/DIGIT/NNNN.png`.

    They are the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998 (CC BY 4.0): 8x8 pixels, kept at that size, their 17 levels of grey spread over 0 to 255.
    The split is the same each time. Where `out` holds some of these very files, the rest is added.

    Returns:
        The number of images in `train` and in `val`.

    Raises:
        ConvsmithError: `out` holds anything else, or it cannot be written.
    """
    digits = digit_pictures()
    try:
        present = {path.relative_to(out) for path in out.rglob("*") if not path.is_dir()} if out.is_dir() else set()
        if any(path not in digits or not _shows(out / path, digits[path]) for path in present):
            raise ConvsmithError(
                f"{printable(out)} is not empty", "it holds something else than these digits", "Choose another folder."
            )
        for path in digits.keys() - present:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits[path]).save(out / path)
    except OSError as error:
        raise ConvsmithError(
            f"cannot write to {printable(out)}", error.strerror or str(error), "Choose another folder."
        ) from error
    return {split: sum(path.parts[0] == split for path in digits) for split in ("train", "val")}


def digit_pictures() -> dict[Path, NDArray[np.uint8]]:
    """Path `SPLIT/DIGIT/NNNN.png` and grey picture, uint8 `[8, 8]` in 0 to 255, of every digit."""
    with (files("convsmith.data") / "embedded" / "digits.npz").open("rb") as file, np.load(file) as data:
        pictures, labels = np.rint(data["images"] * (255 / 16)).astype(np.uint8), data["labels"]
    pictures_by_path: dict[Path, NDArray[np.uint8]] = {}
    for digit in range(10):
        names = [b"%04d.png" % i for i in np.flatnonzero(labels == digit)]
        for split, chosen in zip(("train", "val"), split_files(names, Share(VAL_FRACTION)), strict=True):
            for name in chosen:
                pictures_by_path[Path(split, str(digit), os.fsdecode(name))] = pictures[int(name[:4])]
    return pictures_by_path


def _shows(path: Path, picture: NDArray[np.uint8]) -> bool:
    try:
        return np.array_equal(read_image(path), np.repeat(picture[:, :, None], 3, axis=2))
    except ImageError:
        return False
