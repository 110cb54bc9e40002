"""Images that show none to two of four real handwritten digits, and a table of their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

CLASSES = 4


def write_mosaics(root: Path, train: int = 48, val: int = 24) -> Path:
    """Write so many different images of 16 x 16 pixels and `mosaics.csv`, whose path is returned.

    A digit has a quarter of the image; the other quarters are noise.
    """
    images, targets = load_digits(return_X_y=True)
    random, rows = np.random.RandomState(0), ["image,labels,split"]
    for i in range(train + val):
        shown = random.permutation(CLASSES)[: random.randint(3)]
        pixels = random.randint(0, 60, (16, 16)).astype(np.uint8)
        for digit, place in zip(shown, random.permutation(4), strict=False):
            own = images[targets == digit]
            y, x = divmod(int(place), 2)
            pixels[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = own[random.randint(len(own))].reshape(8, 8) * 255 / 16
        Image.fromarray(pixels).save(root / f"{i:03}.png")
        rows.append(f"{i:03}.png,{'|'.join(f'digit {it}' for it in shown)},{'train' if i < train else 'val'}")
    table = root / "mosaics.csv"
    table.write_text("\n".join(rows) + "\n")
    return table
