from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from convsmith.bundle.preprocess import preprocess
from convsmith.data.augment import draws
from convsmith.data.augment.efficientnet_crop import random_box
from convsmith.data.augment.transform import train_transform
from convsmith.recipe.augmentation import Augment, EfficientNetCrop
from convsmith.spec import Interpolation, Preprocess

AREA, LEAST, RATIO = (0.1, 1.0), 0.1, (3 / 4, 4 / 3)
GOLDEN = json.loads((Path(__file__).parents[1] / "goldens/training/crops.json").read_text())["random_crop"]["cases"]
BY_SIZE = pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['in']['width']}x{case['in']['height']}")


@BY_SIZE
def test_boxes_are_resnests_given_its_random_numbers(case: dict[str, Any]) -> None:
    numbers = random.Random(case["in"]["python_random_seed"])
    boxes: list[tuple[int, int, int, int]] = []
    while len(boxes) < 40:
        size = case["in"]["width"], case["in"]["height"]
        box = random_box(*size, AREA, LEAST, RATIO, uniform=numbers.random, below=numbers.randrange)
        boxes += [box] if box else []
    assert [list(box) for box in boxes] == case["out"]["first_boxes_left_top_right_bottom"]


@BY_SIZE
def test_boxes_are_distributed_as_resnests(case: dict[str, Any]) -> None:
    width, height, n = case["in"]["width"], case["in"]["height"], 4000
    torch.manual_seed(0)
    found = [random_box(width, height, AREA, LEAST, RATIO, uniform=draws.uniform, below=draws.below) for _ in range(n)]
    boxes = np.array([box for box in found if box])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert 1 - len(boxes) / n == pytest.approx(case["out"]["fallback_rate"], abs=0.006)
    for name, values in {
        "area_fraction": sides.prod(axis=1) / (width * height),
        "width_over_height": sides[:, 0] / sides[:, 1],
    }.items():
        expected = case["out"][name]
        assert values.mean() == pytest.approx(expected["mean"], abs=5 * values.std() / n**0.5 + 1e-6)
        assert values.min() >= expected["min"] - 0.01
        assert values.max() <= expected["max"] + 0.01
        if width * height > 1000:  # else they jump
            quantiles = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
            np.testing.assert_allclose(quantiles, expected["quantiles 5 25 50 75 95"], atol=0.03)


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0.01, 0.9), st.randoms(use_true_random=False))
def test_a_box_lies_in_the_image_and_is_not_too_small(
    width: int, height: int, area: float, numbers: random.Random
) -> None:
    box = random_box(width, height, (area, 1.0), 0.0, RATIO, uniform=numbers.random, below=numbers.randrange)
    if box:
        left, top, right, bottom = box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left) * (bottom - top) >= area * width * height


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0.01, 0.9), st.randoms(use_true_random=False))
def test_a_box_covers_its_least_share_however_small_its_area_may_be(
    width: int, height: int, least: float, numbers: random.Random
) -> None:
    box = random_box(width, height, (0.01, 1.0), least, RATIO, uniform=numbers.random, below=numbers.randrange)
    if box:
        left, top, right, bottom = box
        assert (right - left) * (bottom - top) >= least * width * height


def test_a_least_share_above_the_area_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"min_covered \(0.5\) is above area \(0.4\), so no part would do"):
        EfficientNetCrop(size=32, area=(0.1, 0.4), min_covered=0.5)


def test_a_strip_without_any_box_has_none() -> None:
    assert random_box(1000, 1, AREA, LEAST, RATIO, uniform=draws.uniform, below=draws.below) is None


def test_the_whole_image_is_no_box() -> None:
    assert random_box(1, 1, AREA, LEAST, RATIO, uniform=draws.uniform, below=draws.below) is None


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_without_a_box_the_middle_is_taken_as_in_validation(
    mode: Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    monkeypatch.setattr("convsmith.data.augment.efficientnet_crop.random_box", lambda *_, **__: None)
    augment = Augment(efficientnet_crop=EfficientNetCrop(size=32, interpolation=mode))
    middle = Preprocess(resize=64, crop=32, method="crop_then_resize", interpolation=mode)
    result = train_transform(augment, Preprocess(resize=8, crop=8))(image)
    assert (result.numpy() == preprocess(image, middle)).all()


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_the_box_is_resized_as_pillow_does(mode: Interpolation, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    box = (5, 7, 48, 50)
    monkeypatch.setattr("convsmith.data.augment.efficientnet_crop.random_box", lambda *_, **__: box)
    augment = Augment(efficientnet_crop=EfficientNetCrop(size=32, interpolation=mode))
    result = train_transform(augment, Preprocess(resize=8, crop=8))(image).permute(1, 2, 0).numpy()
    expected = Image.fromarray(image).crop(box).resize((32, 32), Image.Resampling[mode.upper()])
    assert np.abs(result.astype(int) - np.asarray(expected).astype(int)).max() <= (0 if mode == "nearest" else 2)
