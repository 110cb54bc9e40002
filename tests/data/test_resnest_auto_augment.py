from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import v2

from convsmith.data.augment import resnest_auto_augment as module
from convsmith.data.augment.resnest_auto_augment import PAIRS, apply, resnest_auto_augment

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "level", "sign", "expected"),
    [
        ("Posterize", 8, 1, ImageOps.posterize(PHOTO, 1)),
        ("Posterize", 5, 1, ImageOps.posterize(PHOTO, 2)),
        ("Solarize", 5, 1, ImageOps.solarize(PHOTO, 128)),
        ("Solarize", 3, 1, ImageOps.solarize(PHOTO, 256 - 76)),
        ("Color", 0, 1, ImageEnhance.Color(PHOTO).enhance(0.1)),
        ("Color", 8, -1, ImageEnhance.Color(PHOTO).enhance(1.54)),
        ("Contrast", 8, 1, ImageEnhance.Contrast(PHOTO).enhance(1.54)),
        ("Sharpness", 7, 1, ImageEnhance.Sharpness(PHOTO).enhance(1.36)),
        ("Rotate", 9, 1, PHOTO.rotate(27)),
        ("Rotate", 8, -1, PHOTO.rotate(-24)),
        (
            "ShearX",
            5,
            -1,
            PHOTO.transform(PHOTO.size, Image.Transform.AFFINE, (1, -0.15, 0, 0, 1, 0), Image.Resampling.BICUBIC),
        ),
        ("Equalize", 3, 1, ImageOps.equalize(PHOTO)),
        ("AutoContrast", 5, 1, ImageOps.autocontrast(PHOTO)),
        ("Invert", 4, 1, ImageOps.invert(PHOTO)),
    ],
)
def test_operations_have_the_strength_of_the_official_code(
    name: str, level: int, sign: int, expected: Image.Image
) -> None:
    assert apply(PHOTO, name, level, sign).tobytes() == expected.tobytes()


def test_the_pairs_are_those_of_the_paper_but_for_one_level() -> None:
    official = v2.AutoAugment()._get_policies(v2.AutoAugmentPolicy.IMAGENET)
    names = [[(name, probability) for name, probability, _ in pair] for pair in PAIRS]
    assert names == [[(name, probability) for name, probability, _ in pair] for pair in official]
    levels = [
        (i, ours, paper)
        for i, (pair, theirs) in enumerate(zip(PAIRS, official, strict=True))
        for (_, _, ours), (_, _, paper) in zip(pair, theirs, strict=True)
        if paper is not None and ours != paper
    ]
    assert levels == [(15, 0, 2)]


def test_pairs_are_drawn_alike_and_operations_applied_with_their_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[tuple[str, int, int]] = Counter()

    def note(image: Image.Image, name: str, level: int, sign: int) -> Image.Image:
        counts[name, level, sign] += 1
        return image

    monkeypatch.setattr(module, "apply", note)
    torch.manual_seed(0)
    for _ in range(5000):
        resnest_auto_augment(PHOTO)
    for name, level in {(name, level) for pair in PAIRS for name, _, level in pair}:
        share = sum(p for pair in PAIRS for n, p, at in pair if (n, at) == (name, level)) / len(PAIRS)
        for sign in (1, -1):
            assert counts[name, level, sign] == pytest.approx(2500 * share, abs=5 * (2500 * share) ** 0.5)
