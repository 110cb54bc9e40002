"""Small folders of real images with real masks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.data.folders.files import Files
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.data.masks.pairs import PairIndex
from convsmith.data.split import Share
from convsmith.recipe.mask_data import Masks
from tests.data.folders import path_of, png


def mask_png(values: NDArray[Any] | Sequence[Sequence[int]], palette: bool = False) -> bytes:
    """A PNG of grey values `[H, W]` (uint8, or uint16 for 16 bits), or colours `[H, W, 3]`."""
    pixels = np.asarray(values, None if isinstance(values, np.ndarray) else np.uint8)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette(np.arange(768, dtype=np.uint8)[::-1].tobytes())
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def plain(value: int) -> bytes:
    """A mask of one value that fits the images of `write_pairs`."""
    return mask_png(np.full((4, 6), value, np.uint8))


def write_pairs(root: Path, *pairs: tuple[str, str], value: int = 0) -> Path:
    """Write an image of 6 x 4 pixels and its mask of one value for each pair of paths below `root`."""
    for image, mask in pairs:
        for name, content in ((image, png()), (mask, plain(value))):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def write_folders(root: Path, *names: str, classes: str = "sky\nroad\ncar\n") -> Path:
    """Write `images/NAME.jpg` with `masks/NAME.png` for each name, and classes.txt."""
    write_pairs(root, *[(f"images/{name}.jpg", f"masks/{name}.png") for name in names])
    (root / "classes.txt").write_text(classes, "utf-8")
    return root


def opened(root: Path, val_fraction: float | None = 0.5, **keys: Any) -> MaskData:
    """`open_mask_folder` with these keys of the section."""
    return open_mask_folder(root, Masks(**keys), None if val_fraction is None else Share(val_fraction))


def mask_of(pairs: PairIndex, i: int) -> Path:
    """The file of mask i, which lies in a folder."""
    return Path(pairs.masks[i].name)


def names(pairs: PairIndex) -> list[tuple[str, str]]:
    """(image, mask) of each pair, relative to the root."""
    assert isinstance(pairs.images, Files)
    root = pairs.images.root
    return [
        (str(path_of(pairs, i).relative_to(root)), str(mask_of(pairs, i).relative_to(root))) for i in range(len(pairs))
    ]
