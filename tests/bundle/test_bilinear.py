from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from convsmith.bundle.bilinear import Bilinear, resize_bilinear, strips

sides = st.integers(1, 40)


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).random(shape, np.float32)


@settings(deadline=None, max_examples=200)
@given(sides, sides, sides, sides, st.booleans())
def test_any_size_equals_torch(height: int, width: int, new_height: int, new_width: int, align_corners: bool) -> None:
    values = noise(2, height, width)
    double = torch.from_numpy(values.astype(np.float64))[None]
    expected = F.interpolate(double, (new_height, new_width), mode="bilinear", align_corners=align_corners)[0]
    result = resize_bilinear(values, (new_height, new_width), align_corners)
    assert np.allclose(result, expected.numpy(), rtol=0, atol=1e-6)


@settings(deadline=None)
@given(sides, sides, sides, sides, st.booleans(), st.data())
def test_some_rows_are_those_of_the_whole(
    height: int, width: int, new_height: int, new_width: int, align_corners: bool, data: st.DataObject
) -> None:
    top = data.draw(st.integers(0, new_height - 1))
    rows = slice(top, data.draw(st.integers(top + 1, new_height)))
    values = noise(height, width)
    part = Bilinear((height, width), (new_height, new_width), align_corners).rows(values, rows)
    assert np.array_equal(part, resize_bilinear(values, (new_height, new_width), align_corners)[rows])


def test_bytes_do_not_wrap_round() -> None:
    assert resize_bilinear(np.array([[255, 0]], np.uint8), (1, 4)).tolist() == [[255, 191.25, 63.75, 0]]


@pytest.mark.parametrize("size", [(4, 7), (5, 7), (9, 3)])
def test_values_are_left_as_they_are(size: tuple[int, int]) -> None:
    values = noise(4, 7)
    before = values.copy()
    resize_bilinear(values, size)
    assert np.array_equal(values, before)


@given(st.integers(1, 300), st.integers(1, 10**6))
def test_strips_cover_all_rows_once(height: int, width: int) -> None:
    assert [row for part in strips(height, width) for row in range(height)[part]] == list(range(height))
