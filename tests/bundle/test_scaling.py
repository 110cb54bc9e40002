"""Bytes that the numbers of an image become, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsmith.bundle.images import scaling
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.scaling import channels_last, check_channels, fitted
from convsmith.spec import RGB, Bands


def refusal(values: Any, bands: Bands) -> str:
    with pytest.raises(ImageError) as caught:
        fitted(np.asarray(values), "it", bands)
    return f"{caught.value.why} {caught.value.fix}"


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((5, 6), 3, (5, 6, 1)),
        ((5, 6, 3), 3, (5, 6, 3)),
        ((3, 5, 6), 3, (5, 6, 3)),
        ((1, 5, 6), 3, (5, 6, 1)),
        ((1, 5, 6), 4, (5, 6, 1)),
        ((4, 5, 6), 4, (5, 6, 4)),
        ((4, 5, 6), 3, (4, 5, 6)),
        ((3, 5, 3), 3, (3, 5, 3)),
        ((3, 5, 1), 3, (3, 5, 1)),
        ((2, 5, 6), 3, (2, 5, 6)),
    ],
)
def test_channels_come_last_where_that_leaves_no_doubt(
    shape: tuple[int, ...], channels: int, expected: tuple[int, ...]
) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    found = channels_last(values, channels)
    assert found.shape == expected
    moved = values if shape == expected or len(shape) == 2 else np.moveaxis(values, 0, -1)
    assert np.array_equal(found.ravel(), moved.ravel())


def test_grey_becomes_three_channels_and_equal_ones_grey() -> None:
    grey = np.array([[0, 7], [9, 255]], np.uint8)
    three = np.stack([grey] * 3, axis=2)
    assert np.array_equal(fitted(grey, "it", RGB), three)
    assert np.array_equal(fitted(three, "it", Bands(channels=1, range=None)), grey[:, :, None])
    for channel in range(3):
        other = three.copy()
        other[1, 0, channel] += 1
        why = refusal(other, Bands(channels=1, range=None))
        assert why.startswith("it has 3 channels, and they differ, where data.channels is 1 Set data.channels=3")


@pytest.mark.parametrize(("found", "channels"), [(3, 3), (1, 1), (1, 3), (5, 5)])
def test_channels_that_fit_pass(found: int, channels: int) -> None:
    check_channels(found, "it", channels)


@pytest.mark.parametrize(
    ("found", "channels", "why"),
    [
        (1, 4, "it has 1 channel, where data.channels is 4"),
        (4, 3, "it has 4 channels, where data.channels is 3"),
        (3, 1, "it has 3 channels, and they differ, where data.channels is 1"),
        (3, 4, "it has 3 channels, where data.channels is 4"),
        (2, 1, "it has 2 channels, where data.channels is 1"),
    ],
)
def test_others_are_refused(found: int, channels: int, why: str) -> None:
    with pytest.raises(ImageError) as caught:
        check_channels(found, "it", channels)
    assert caught.value.why == why


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "<i2", "<u4", "<f4", "<f8"])
@settings(max_examples=20)
@given(numbers=st.lists(st.integers(0, 255), min_size=24, max_size=24))
def test_numbers_are_scaled_from_the_range_rounded_and_cut_off(kind: str, numbers: list[int]) -> None:
    values = np.array(numbers, kind).reshape(4, 2, 3)
    low, high = 51, 153
    expected = [min(max(int((number - low) * 255 / (high - low) + 0.5), 0), 255) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "_AT_ONCE", 13)  # two rows at a time, and a bit
        assert fitted(values, "it", Bands(channels=3, range=(low, high))).ravel().tolist() == expected


def test_bytes_without_a_range_stay_and_16_bits_are_used_whole() -> None:
    values = np.array([[0, 128, 65535], [257, 8191, 8192]], np.uint16)
    assert fitted(values, "it", Bands(channels=1, range=None)).ravel().tolist() == [0, 0, 255, 1, 32, 32]
    least = np.full((1, 1), 8192, np.uint16)
    assert fitted(least, "it", Bands(channels=1, range=None)).tolist() == [[[32]]]
    assert fitted(np.zeros((1, 1), np.uint16), "it", Bands(channels=1, range=None)).tolist() == [[[0]]]
    why = refusal(np.array([[8191, 3]], np.uint16), Bands(channels=1, range=None))
    assert why.startswith("its highest value is 8,191 of 65,535")
    assert why.endswith("Set preprocess.range, such as [0, 8191].")


def test_a_range_that_is_not_known_is_asked_for() -> None:
    why = refusal(np.array([[1.5, -2]], np.float32), Bands(channels=1, range=None))
    assert why == (
        "its pixels are numbers of type float32, whose range is not known Set preprocess.range; here they reach from "
        "-2 to 1.5."
    )
    assert refusal(np.zeros((2, 2), np.uint8), Bands(channels=1, range=(0, 256))).startswith(
        "it has 8 bits, where preprocess.range reaches to 256"
    )
    assert fitted(np.full((1, 1), 255, np.uint8), "it", Bands(channels=1, range=(0, 255))).tolist() == [[[255]]]


def test_values_that_are_not_numbers_are_refused() -> None:
    values = np.zeros((3, 2), np.float32)
    values[2, 1] = np.nan
    assert refusal(values, Bands(channels=1, range=(0, 1))).startswith("some of its values are not numbers")


@pytest.mark.parametrize("channels", [1, 4])
def test_colours_as_high_as_the_channels_that_are_wanted_are_refused_as_colours(channels: int) -> None:
    colours = np.arange(channels * 5 * 3, dtype=np.uint8).reshape(channels, 5, 3)
    with pytest.raises(ImageError, match="it has 3 channels"):
        fitted(colours, "a.png", Bands(channels))
