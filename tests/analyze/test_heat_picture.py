"""Heat as a picture, pixel by pixel."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from convsmith.analyze.heat.picture import picture
from convsmith.bundle.heat import colours, overlay


def test_colours_are_matplotlibs_inferno() -> None:
    expected = matplotlib.colormaps["inferno"](np.arange(256), bytes=True)[:, :3].astype(int)
    anchors = colours()[::17].astype(int)
    assert np.abs(anchors - expected[::17]).max() <= 8
    assert np.abs(colours().astype(int) - expected).max() <= 30
    assert colours().shape == (256, 3)
    assert (colours()[0].tolist(), colours()[-1].tolist()) == ([0, 0, 4], [0xFC, 0xFF, 0xA4])


def test_the_colours_lie_over_the_image() -> None:
    image = np.array([[[0, 100, 200], [10, 20, 30], [1, 2, 3]]], np.uint8)
    heat = np.array([[-1, 0.5, 2]], np.float32)
    expected = np.rint(0.45 * image + 0.55 * colours()[[0, 128, 255]])
    assert overlay(image, heat).tolist() == expected.tolist()


def shown(image: NDArray[np.uint8], heat: NDArray[np.float32], caption: str = "cat") -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(picture(image, heat, caption))) as it:
        return np.asarray(it)


@pytest.mark.parametrize(("size", "times"), [((100, 112), 2), ((224, 10), 1), ((300, 200), 1), ((7, 75), 3)])
def test_image_and_heat_stand_side_by_side_above_a_legend(size: tuple[int, int], times: int) -> None:
    random = np.random.RandomState(0)
    image, heat = random.randint(0, 256, (*size, 3), np.uint8), random.random_sample(size).astype(np.float32)
    sheet, (height, width) = shown(image, heat), (size[0] * times, size[1] * times)
    assert sheet.shape == (height + 32 + 10 + 16, 2 * width + 12, 3)
    first, second = sheet[20 : 20 + height, 4 : 4 + width], sheet[20 : 20 + height, 8 + width : 8 + 2 * width]
    assert np.array_equal(first, image.repeat(times, 0).repeat(times, 1))
    assert np.array_equal(second, overlay(image, heat).repeat(times, 0).repeat(times, 1))
    legend = sheet[24 + height : 34 + height, 8 + width : 8 + 2 * width]
    assert (legend == legend[:1]).all()
    assert np.abs(legend[0, 0].astype(int) - colours()[0]).max() < 60
    assert np.abs(legend[0, -1].astype(int) - colours()[-1]).max() < 60
    around = np.ones(sheet.shape[:2], bool)
    for rows, columns in (
        (slice(20, 20 + height), slice(4, 4 + width)),
        (slice(20, 20 + height), slice(8 + width, 8 + 2 * width)),
        (slice(24 + height, 34 + height), slice(8 + width, 8 + 2 * width)),
        (slice(0, 20), slice(None)),
        (slice(34 + height, None), slice(None)),
    ):
        around[rows, columns] = False
    assert (sheet[around] == 255).all()


def test_the_legend_is_written_below_from_edge_to_edge() -> None:
    sheet = shown(np.zeros((224, 224, 3), np.uint8), np.zeros((224, 224), np.float32), "")
    rows, columns = np.nonzero(sheet[258:].min(axis=2) < 128)
    assert (columns.min() - 232, 456 - columns.max()) == (pytest.approx(1, abs=2), pytest.approx(1, abs=2))
    assert rows.max() < 16
    assert (sheet[:20] == 255).all()
    assert (shown(np.zeros((224, 224, 3), np.uint8), np.zeros((224, 224), np.float32), "x")[:20, :20] < 128).any()
