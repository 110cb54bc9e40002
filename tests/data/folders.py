"""Small folders of real image files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from convsmith.data.dataset import Samples
from convsmith.data.image_data import ImageData
from convsmith.data.index import IndexBuilder


def png(colour: tuple[int, int, int] = (200, 100, 50), size: tuple[int, int] = (6, 4)) -> bytes:
    """A PNG file of one colour; size is (width, height)."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


_PIXELS = png()


def write_files(root: Path, *names: str) -> Path:
    """Write each file below `root`: a real image where the name says .png or .jpg, else text. A name ending in / is an
    empty folder."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_PIXELS if path.suffix in (".png", ".jpg") else b"text")
    return root


def write_noise(root: Path, count: int, classes: int = 2, size: tuple[int, int] = (10, 8)) -> Path:
    """Write `count` noisy images, all different, into train/c0, train/c1 ... in turn, and one of each into val."""
    random = np.random.default_rng(count)
    for i in range(count + classes):
        split = "train" if i < count else "val"
        folder = root / split / f"c{i % classes}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04}.png")
    return root


def path_of(samples: Samples, i: int) -> Path:
    """The file of image i, which lies in a folder."""
    return Path(samples.name(i))


def folder_of_classes(counts: Sequence[int]) -> ImageData:
    """A data set of so many training images of each class; none of them is on disk."""
    builder, nothing = IndexBuilder(Path("data")), IndexBuilder(Path("data")).build()
    for target, count in enumerate(counts):
        builder.add(target, [b"%d/%d.png" % (target, i) for i in range(count)])
    return ImageData(Path("data"), tuple(map(str, range(len(counts)))), builder.build(), nothing, ())
