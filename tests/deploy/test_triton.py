"""The preprocessing of a Triton repository beside Pillow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from convsmith.bundle.preprocess import preprocess
from convsmith.deploy.triton.preprocess_graph import preprocess_onnx
from convsmith.spec import Preprocess

SIZES = [(24, 31), (31, 24), (30, 30), (97, 40), (13, 90), (200, 133), (25, 25), (7, 5)]  # height and width
RULES = [
    {"resize": 28, "crop": 24},
    {"resize": 24, "crop": 24},
    {"resize": 16, "crop": 24},  # padded with black
    {"resize": 29, "crop": 23, "method": "crop_then_resize"},
    {"resize": 24, "crop": 24, "method": "warp"},
]


def photo(size: tuple[int, int], channels: int = 3) -> NDArray[np.uint8]:
    """Noise with edges and smooth places, uint8 [H, W, channels]."""
    height, width = size
    values = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    values[: height // 2] = np.asarray(Image.fromarray(values[: height // 2]).filter(ImageFilter.GaussianBlur(2)))
    return np.ascontiguousarray(values[:, :, :channels])


def apart(spec: Preprocess, pixels: NDArray[np.uint8]) -> int:
    """How many levels the graph is from Pillow at most."""
    session = onnxruntime.InferenceSession(preprocess_onnx(spec))
    (given,) = session.run(None, {"pixels": pixels})
    expected = preprocess(pixels, spec)
    assert (given.shape, given.dtype) == ((1, *expected.shape), np.uint8)
    return int(np.abs(given[0].astype(int) - expected).max())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.get('method', 'resize_then_crop')}-{rule['resize']}")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_it_sees_what_pillow_sees_to_rounding(rule: dict[str, Any], interpolation: str) -> None:
    spec = Preprocess.model_validate({**rule, "interpolation": interpolation})
    assert max(apart(spec, photo(size)) for size in SIZES) <= 1


def test_an_image_of_one_channel_is_resized_too() -> None:
    spec = Preprocess(resize=28, crop=24, mean=(0.5,), std=(0.5,))
    assert max(apart(spec, photo(size, 1)) for size in SIZES) <= 1


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    assert apart(Preprocess(resize=24, crop=24), photo((24, 24))) == 0
