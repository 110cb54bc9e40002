"""Photographs of one size, and a classifier in INT8, for the suite of benchmarks.

.venv/bin/python benchmarks/materials.py FOLDER [PHOTOGRAPHS]
"""

from __future__ import annotations

import sys
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

import convsmith as cs
from convsmith.deploy.quantize import quantize_bundle


def write_photographs(
    target: Path, source: Path | None = None, size: tuple[int, int] = (500, 375), count: int = 100
) -> Path:
    """Write JPEGs in two classes.

    Args:
        target: the folder to write.
        source: photographs to scale, which take turns; without it noise is drawn that JPEG makes as large as those.
        size: width and height in pixels.
        count: how many.

    Raises:
        ValueError: the source holds no JPEGs.
    """
    random = np.random.default_rng(0)
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")) if source else []
    if source and not paths:
        raise ValueError(f"{source} holds no JPEGs")
    small = (size[1] // 3, size[0] // 3, 3)
    for i, path in enumerate(islice(cycle(paths or [None]), count)):
        drawn = Image.open(path) if path else Image.fromarray(random.integers(0, 256, small, dtype=np.uint8))
        place = target / f"c{i % 2}" / f"{i:06}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        ImageOps.fit(drawn.convert("RGB"), size, Image.Resampling.BICUBIC).save(place, quality=90)
    return target


def write_int8(place: Path, photos: Path) -> None:
    """Write ResNet-50 with random weights as an INT8 bundle, `int8` in a folder."""
    weights = place / "resnet50.pth"
    torch.manual_seed(0)
    torch.save(cs.create_model("resnet50", num_classes=2).state_dict(), weights)
    words = [f"model.weights={weights}", "schedule.epochs=0", "model.num_classes=null"]
    bundle = cs.train(cs.load_recipe("resnet50-in1k", words), photos, place / "run").bundle
    quantize_bundle(bundle, photos, place / "int8", max_drop=100, images=32)


def main(place: str, photographs: str | None = None) -> None:
    """Write what the suite of benchmarks needs: `photos` and `int8`."""
    photos = Path(place) / "photos"
    for part in ("train", "val"):
        write_photographs(photos / part, Path(photographs) if photographs else None)
    write_int8(Path(place), photos)


if __name__ == "__main__":
    main(*sys.argv[1:])
