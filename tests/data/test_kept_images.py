"""Readers that are given what was kept of a sample give what they would have read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from convsmith.data.dataset import Make, Reader
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.recipe.augmentation import (
    Augment,
    EfficientNetCrop,
    RandomCrop,
    RandomResizedCrop,
    RandomScaleCrop,
    TimmRandAugment,
)
from convsmith.recipe.mask_data import Masks
from convsmith.spec import Preprocess, WholeImage

SMALLER = RandomCrop(size=24, padding=3)
BEFORE = TimmRandAugment(name="timm_rand_augment", before_crop=True)
AUGMENTS = {
    "resized": Augment(random_resized_crop=RandomResizedCrop(size=16), hflip=0.5),
    "efficientnet": Augment(efficientnet_crop=EfficientNetCrop(size=16), lighting=0.1),
    "smaller": Augment(random_crop=SMALLER, hflip=0.5),
    "larger": Augment(random_crop=RandomCrop(size=100, padding=0)),
    "policy before": Augment(random_crop=SMALLER, policy=BEFORE),
}


class Kept:
    """A cache in a dictionary."""

    def __init__(self) -> None:
        self.pixels: dict[int, NDArray[np.uint8]] = {}
        self.made = 0

    def __call__(self, number: int, make: Make) -> NDArray[np.uint8]:
        if number not in self.pixels:
            self.pixels[number] = make().copy()
            self.made += 1
        return self.pixels[number].copy()


def write_noise(path: Path, seed: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = (3,) if mode == "RGB" else ()
    high = 256 if mode == "RGB" else 2
    Image.fromarray(np.random.default_rng(seed).integers(0, high, (60 + seed, 90, *depth), dtype=np.uint8)).save(path)


def assert_same_samples(plain: Reader, keeping: Reader) -> None:
    for epoch in range(3):
        for i in range(2):
            samples = []
            for read in (plain, keeping):
                torch.manual_seed(10 * epoch + i)
                samples.append((*read(i), torch.rand(3)))
            assert all(torch.equal(one, other) for one, other in zip(*samples, strict=True))


@pytest.mark.parametrize("name", AUGMENTS)
def test_images(tmp_path: Path, name: str) -> None:
    for i in range(2):
        write_noise(tmp_path / f"c{i}" / f"{i}.png", i)
    data, kept = open_image_folder(tmp_path, None), Kept()
    rest = AUGMENTS[name], Preprocess(resize=20, crop=16)
    assert_same_samples(data.training_reader("train", *rest), data.training_reader("train", *rest, keep=kept))
    assert kept.made == 2
    height = 24 if name == "smaller" else 60
    assert kept.pixels[0].shape[0] == height


def test_images_with_masks(tmp_path: Path) -> None:
    for i in range(2):
        write_noise(tmp_path / "images" / "train" / f"{i}.png", i)
        write_noise(tmp_path / "masks" / "train" / f"{i}.png", i, "L")
    data, kept = open_mask_folder(tmp_path, Masks(classes=("a", "b")), None), Kept()
    rest = Augment(random_scale_crop=RandomScaleCrop(size=(32, 32)), hflip=0.5), WholeImage(method="whole")
    assert_same_samples(data.training_reader("train", *rest), data.training_reader("train", *rest, keep=kept))
    assert kept.made == 2
