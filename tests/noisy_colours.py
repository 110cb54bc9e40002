"""Images whose colour is drawn around the one of their class, so that how sure a colour bundle may be is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.colours import LABELS

BRIGHT = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
SHIFT, SPREAD = 25.0, 20.0
TEMPERATURE = 0.1 / (SHIFT / SPREAD**2)
"""What the logits of `colour_model` must be divided by: they are a tenth of the colours."""


def write_grainy(path: Path, colour: tuple[int, int, int], random: np.random.RandomState) -> None:
    """Write an image of a colour with some grain, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(colour) + random.randint(-9, 10, (12, 10, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def noisy_colours(random: np.random.RandomState, there: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Colours [N, 3], each drawn around grey, higher where `there` [N, 3] is 1."""
    drawn = random.normal(110, SPREAD, there.shape) + SHIFT * there
    return drawn.round().clip(0, 255).astype(np.uint8)


def write_noisy_colours(root: Path, count: int, seed: int = 0) -> Path:
    """Write `count` images of each class into folders."""
    random = np.random.RandomState(seed)
    for k, label in enumerate(LABELS):
        (root / label).mkdir(parents=True)
        colours = noisy_colours(random, np.tile(np.eye(3, dtype=np.int64)[k], (count, 1)))
        for number, colour in enumerate(colours):
            Image.new("RGB", (8, 8), tuple(colour.tolist())).save(root / label / f"{number:04}.png")
    return root


def write_noisy_labels(root: Path, count: int) -> Path:
    """Write `count` images that have each class or not, and the table of their labels, whose path is returned."""
    random = np.random.RandomState(0)
    there = random.randint(0, 2, (count, 3))
    rows = ["image,labels"]
    for number, (colour, own) in enumerate(zip(noisy_colours(random, there), there, strict=True)):
        Image.new("RGB", (8, 8), tuple(colour.tolist())).save(root / f"{number:04}.png")
        rows.append(
            f"{number:04}.png,{'|'.join(label for label, is_there in zip(LABELS, own, strict=True) if is_there)}"
        )
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root / "labels.csv"


def write_noisy_masks(root: Path, count: int, side: int = 48) -> Path:
    """Write `count` images whose pixels are drawn so, and their masks; a column of each mask does not count."""
    random = np.random.RandomState(0)
    for folder in ("images", "masks"):
        (root / folder / "val").mkdir(parents=True)
    for number in range(count):
        mask = random.randint(0, 3, (side, side)).astype(np.uint8)
        pixels = noisy_colours(random, np.eye(3, dtype=np.int64)[mask].reshape(-1, 3)).reshape(side, side, 3)
        Image.fromarray(pixels).save(root / "images" / "val" / f"{number}.png")
        mask[:, 0] = 255
        Image.fromarray(mask).save(root / "masks" / "val" / f"{number}.png")
    (root / "classes.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return root
