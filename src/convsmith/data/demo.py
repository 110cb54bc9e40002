"""Real images that come with a package: scikit-learn's handwritten digits, as an image folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.decode import ImageError, read_image
from convsmith.data.index import printable
from convsmith.data.split import split_files
from convsmith.errors import ConvsmithError, require_extra

VAL_FRACTION = 0.2


def write_digits(out: Path) -> dict[str, int]:
    """Write 1,797 handwritten digits as `OUT/train/DIGIT/NNNN.png` and `OUT/val/DIGIT/NNNN.png`.

    They are the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998, as scikit-learn ships it: 8x8 pixels, kept at that size, their 17 levels of grey spread
    over 0 to 255. The split is the same each time. Where `out` holds some of these very files, the rest is added.

    Returns:
        The number of images in `train` and in `val`.

    Raises:
        ConvsmithError: scikit-learn is missing, `out` holds anything else, or it cannot be written.
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
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise require_extra("scikit-learn", "train", "`convsmith data demo`") from error
    data = load_digits()
    pictures = np.rint(data.images * (255 / 16)).astype(np.uint8)
    files: dict[Path, NDArray[np.uint8]] = {}
    for digit in range(10):
        names = [b"%04d.png" % i for i in np.flatnonzero(data.target == digit)]
        for split, chosen in zip(("train", "val"), split_files(names, VAL_FRACTION), strict=True):
            for name in chosen:
                files[Path(split, str(digit), os.fsdecode(name))] = pictures[int(name[:4])]
    return files


def _shows(path: Path, picture: NDArray[np.uint8]) -> bool:
    try:
        return np.array_equal(read_image(path), np.repeat(picture[:, :, None], 3, axis=2))
    except ImageError:
        return False
