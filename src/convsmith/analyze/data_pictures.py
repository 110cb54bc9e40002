"""Small pictures of samples, as URLs that hold them."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.analyze.house_page import image_url
from convsmith.bundle.images.bands import decode
from convsmith.bundle.images.decode import as_pillow, for_eyes
from convsmith.bundle.images.image_error import ImageError
from convsmith.data.dataset import DataSet, splits
from convsmith.errors import printable
from convsmith.spec import RGB, Bands

_SIDE = 160  # pixels


def thumbnails(dataset: DataSet, names: Set[str], bands: Bands = RGB) -> dict[str, str]:
    """A picture of each sample that is named, by its printable name, as far as it can be read."""
    found: dict[str, str] = {}
    for samples in splits(dataset).values() if names else ():
        for i in range(len(samples)):
            name = printable(samples.name(i))
            if name in names and name not in found:
                image = samples.contents(i)[0]
                try:
                    picture = as_pillow(for_eyes(decode(image.read(), image.name, bands)))
                except ImageError:
                    continue
                found[name] = _url(picture)
    return found


def data_url(pixels: NDArray[np.uint8]) -> str:
    """A picture of RGB pixels uint8 `[H, W, 3]`."""
    return _url(Image.fromarray(pixels))


def _url(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    return image_url(small, "JPEG", quality=80)
