from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.analyze.heat import hidden_parts
from convsmith.analyze.heat.hidden_parts import Score, _mask, occlusion, rise
from convsmith.bundle.heat import scaled

BLACK = np.zeros(3, np.uint8)
Heat = Callable[[Score, NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


def brightness_of(rows: slice, columns: slice) -> Score:
    """A model that looks at one place: the brighter it is, the surer of the class."""

    def score(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        place = images[:, :, rows, columns].astype(np.float64).mean((1, 2, 3)) / 255
        sure: NDArray[np.float64] = np.log(np.clip(place, 1e-3, 1))
        return sure

    return score


@pytest.mark.parametrize("find", [occlusion, rise])
@pytest.mark.parametrize("size", [(32, 32), (30, 47)])
def test_heat_is_where_the_model_looks(find: Heat, size: tuple[int, int]) -> None:
    heat = find(brightness_of(slice(4, 12), slice(18, 28)), np.full((3, *size), 200, np.uint8), BLACK)
    assert heat.shape == size
    assert (heat.min(), heat.max()) == (0, 1)
    row, column = np.unravel_index(heat.argmax(), size)
    assert 2 <= row < 14
    assert 16 <= column < 30
    outside = heat.copy()
    outside[:16, 12:34] = 0
    assert outside.max() < 0.75


@pytest.mark.parametrize("find", [occlusion, rise])
def test_heat_is_nothing_where_no_place_counts(find: Heat) -> None:
    assert find(lambda images: np.zeros(len(images)), np.full((3, 16, 16), 9, np.uint8), BLACK).max() == 0


def test_masks_are_the_same_in_every_call_and_others_with_another_seed() -> None:
    score, image = brightness_of(slice(4, 12), slice(4, 12)), np.full((3, 16, 16), 200, np.uint8)
    first, again, other = (rise(score, image, BLACK, 64, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_image_smaller_than_the_grid_is_hidden_place_by_place() -> None:
    score = brightness_of(slice(0, 1), slice(2, 3))
    heat = occlusion(score, np.full((3, 3, 3), 200, np.uint8), BLACK)
    assert heat.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_what_is_hidden_has_the_fill_of_each_channel() -> None:
    seen: list[NDArray[np.uint8]] = []

    def score(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        seen.append(images.copy())
        return np.zeros(len(images))

    occlusion(score, np.zeros((2, 5, 5), np.uint8), np.array([7, 9], np.uint8))
    assert [seen[-1][:, channel].max() for channel in (0, 1)] == [7, 9]


def test_occlusion_is_the_mean_loss_of_all_patches_over_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_parts, "_BATCH_PIXELS", 31 * 47 * 7)  # seven at a time
    image = np.random.RandomState(0).randint(50, 250, (3, 31, 47)).astype(np.uint8)
    score = brightness_of(slice(4, 12), slice(18, 28))
    lost, covered = np.zeros((31, 47)), np.zeros((31, 47))
    for top in [*range(0, 25, 2), 25]:  # a fifth of a side, moved by a fifteenth
        for left in [*range(0, 38, 3), 38]:
            hidden = image.copy()
            hidden[:, top : top + 6, left : left + 9] = 7
            lost[top : top + 6, left : left + 9] += score(image[None])[0] - score(hidden[None])[0]
            covered[top : top + 6, left : left + 9] += 1
    expected = np.maximum(lost / covered, 0)
    expected -= expected.min()
    np.testing.assert_allclose(
        occlusion(score, image, np.full(3, 7, np.uint8)), expected / expected.max(), rtol=0, atol=1e-6
    )


def test_rise_is_the_mean_probability_of_the_masks_that_show_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_parts, "_BATCH_PIXELS", 16 * 20 * 3)
    image, fill = np.full((3, 16, 20), 200, np.uint8), np.array([10, 20, 30], np.uint8)
    seen: list[NDArray[np.uint8]] = []

    def score(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        seen.append(images)
        sure: NDArray[np.float64] = np.log((images[:, 0, 3, 4] - 9.0) / 255)
        return sure

    heat = rise(score, image, fill, 8, seed=5)
    assert [len(images) for images in seen] == [3, 3, 2]
    shown = [(images.astype(float) - fill[:, None, None]) / (image - fill[:, None, None]) for images in seen]
    masks = np.concatenate(shown)
    assert np.abs(masks[:, :1] - masks).max() < 0.01  # the same in each channel
    sure = np.exp(np.concatenate([score(images) for images in seen[:3]]))
    expected = (masks[:, 0] * sure[:, None, None]).sum(0) / np.maximum(masks[:, 0].sum(0), 1e-9)
    expected -= expected.min()
    np.testing.assert_allclose(heat, expected / expected.max(), atol=0.02)


@pytest.mark.parametrize("size", [(7, 7), (16, 20), (70, 35)])
def test_a_mask_shows_half_of_the_cells_smoothly(size: tuple[int, int]) -> None:
    masks = np.stack([_mask(0, number, size) for number in range(300)])
    assert masks.shape[1:] == size
    assert (masks.min(), masks.max()) == (0, 1)
    assert masks.mean() == pytest.approx(0.5, abs=0.03)
    assert np.abs(masks.mean(0) - 0.5).max() < 0.15
    cells = size[0] / 7, size[1] / 7
    assert np.abs(np.diff(masks, axis=1)).max() <= 1 / max(1, int(cells[0])) + 1e-6
    assert np.abs(np.diff(masks, axis=2)).max() <= 1 / max(1, int(cells[1])) + 1e-6


def test_heat_is_scaled_to_0_to_1() -> None:
    assert scaled(np.array([[3.0, 5.0], [4.0, 3.0]])).tolist() == [[0, 1], [0.5, 0]]
    assert scaled(np.full((2, 2), 5.0)).tolist() == [[0, 0], [0, 0]]
