"""Some validation images beside their true and their predicted masks, in one picture.

    .venv/bin/python benchmarks/segmentation_pictures.py BUNDLE DATA OUT.png [--count 6]

DATA is the folder that BUNDLE was trained on. The images are evenly spread over its validation part; each row shows the
image, the truth and the prediction, in the bundle's colours, with what does not count in white.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.predictor import load
from convsmith.bundle.segmentation import Segmentation, voc_colours
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.data.split import Share
from convsmith.recipe.mask_data import Masks
from convsmith.spec import IGNORED

GAP = 4  # pixels between two pictures


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=6)
    options = parser.parse_args()
    bundle = load(options.bundle)
    section = bundle.manifest.recipe["data"]
    masks = Masks.model_validate(section["masks"] or {}, strict=False)
    val = open_mask_folder(options.data, masks, Share(section["val_fraction"])).val
    palette = np.full((256, 3), 255, np.uint8)
    palette[: len(bundle.labels)] = bundle.manifest.colours or voc_colours(len(bundle.labels))
    palette[IGNORED] = 255
    count = min(options.count, len(val))
    rows = []
    for i in range(count):
        picture, truth = val.read(i * len(val) // count)
        predicted = bundle.predict(picture)
        assert isinstance(predicted, Segmentation)
        rows.append(_beside(np.asarray(picture), palette[truth], palette[predicted.mask]))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    Image.fromarray(np.concatenate(rows)).save(options.out)


def _beside(*pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate(
        [np.pad(picture, ((0, 0), (0, GAP), (0, 0)), constant_values=255) for picture in pictures], axis=1
    )


if __name__ == "__main__":
    main()
