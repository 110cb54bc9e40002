"""Tiny scenes to segment, a recipe that learns them in seconds, and a network of some thousand parameters for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import RandomState
from PIL import Image

from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe

TRAIN, VAL, EXTRA = 12, 5, 6
CLASSES = ("background", "red", "blue")

RECIPE = """\
description: squares on grey
source: the tests
task: segmentation
model: {name: tiny_segmenter}
data: {workers: 0}
augment:
  random_scale_crop: {size: [16, 24], scale: [0.75, 1.5], scale_step: 0}
  hflip: 0.5
preprocess: {method: whole}
batch: {size: 4, per_device: 2}
optimizer: {name: sgd, lr: 0.1}
schedule: {name: poly, epochs: 4}
loss: {name: cross_entropy, class_weights: sqrt}
ema: {decay: 0.5}
precision: fp32
"""


def write_scenes(root: Path) -> Path:
    """Red and blue squares on noise, of a size that differs from image to image, with pixels that do not count.

    `extra.lst` lists two validation images among training ones.
    """
    random = RandomState(0)
    for part, count in (("train", TRAIN), ("val", VAL)):
        for folder in ("images", "masks"):
            (root / folder / part).mkdir(parents=True)
        for number in range(count):
            height, width = random.randint(17, 30, 2)
            pixels = random.randint(90, 166, (height, width, 3), np.uint8)
            mask = np.zeros((height, width), np.uint8)
            for class_id, colour in ((1, (220, 30, 30)), (2, (30, 30, 220))):
                top, left = random.randint(0, height - 8), random.randint(0, width - 8)
                pixels[top : top + 8, left : left + 8] = colour
                mask[top : top + 8, left : left + 8] = class_id
            mask[:2] = 255
            Image.fromarray(pixels).save(root / f"images/{part}/{number:02}.png")
            Image.fromarray(mask).save(root / f"masks/{part}/{number:02}.png")
    names = [*(f"train/{number:02}" for number in range(EXTRA - 2)), "val/00", "val/01"]
    (root / "extra.lst").write_text("".join(f"images/{name}.png\tmasks/{name}.png\n" for name in names))
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


def scenes_recipe(folder: Path, *overrides: str) -> Recipe:
    """RECIPE with overrides."""
    path = folder / "scenes.yaml"
    path.write_text(RECIPE)
    return load_recipe(path, overrides)
