"""Numbers of an image become bytes of the channels that a model takes, and nothing else than what was asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError
from convsmith.spec import Bands

_WORD_RANGE = (0.0, 65535.0)
_DARK = 8  # an image of 16 bits that uses less than this part of its range is taken for one of fewer bits
_AT_ONCE = 2**20  # numbers


def fitted(values: NDArray[Any], name: str, bands: Bands) -> NDArray[np.uint8]:
    """Bytes [H, W, C] of an array of numbers: [H, W], [H, W, C], or [C, H, W] where that leaves no doubt.

    Colours whose red, green and blue are equal are grey, where one channel is wanted; grey is repeated, where three
    are. Numbers of more than 8 bits are scaled from `bands.range` and rounded, and cut off beyond it.

    Raises:
        ImageError: there is another number of channels, or the range is not known.
    """
    values = channels_last(values, bands.channels)
    if bands.channels == 1 and values.shape[2] == 3 and not (values[..., :1] != values[..., 1:]).any():
        values = values[..., :1]
    check_channels(values.shape[2], name, bands.channels)
    scaled = _as_bytes(values, name, bands.range)
    if scaled.shape[2] != bands.channels:
        scaled = np.repeat(scaled, bands.channels, axis=2)
    return np.require(scaled, requirements=["C", "W"])


def channels_last(values: NDArray[Any], channels: int) -> NDArray[Any]:
    """The array as [H, W, C]; it is taken for [C, H, W] where only its first axis is as long as expected.

    Colours whose height is the number of channels are colours.
    """
    if values.ndim == 2:
        return values[:, :, None]
    expected, in_doubt = (1, channels), (1, 3, channels)
    return np.moveaxis(values, 0, 2) if values.shape[0] in expected and values.shape[2] not in in_doubt else values


def check_channels(found: int, name: str, channels: int) -> None:
    """Raise an ImageError if an image of `found` channels is none of `channels`; of grey three can be made."""
    if found == channels or (found == 1 and channels == 3):
        return
    colour = ", and they differ" if (found, channels) == (3, 1) else ""
    raise ImageError(
        f"cannot read {name}",
        f"it has {found} channel{'s' * (found != 1)}{colour}, where data.channels is {channels}",
        f"Set data.channels={found}, if all images are so; a bundle takes what it was trained on.",
    )


def _as_bytes(values: NDArray[Any], name: str, asked: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Bytes of numbers [H, W, C]; of what no table tells, some rows at a time: the largest images need every byte."""
    if asked is None and values.dtype == np.uint8:
        return values
    low, high = asked or _range_of(values, name)
    if values.dtype == np.uint8 and high > 255:
        raise ImageError(
            f"cannot read {name}",
            f"it has 8 bits, where preprocess.range reaches to {high:g}",
            "Give images of one kind, or choose a range that is theirs.",
        )
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        table = _table(low, high, 256**values.dtype.itemsize)
        return np.take(table, values)
    scaled = np.empty(values.shape, np.uint8)
    rows = max(1, _AT_ONCE // (values.shape[1] * values.shape[2]))
    for top in range(0, len(values), rows):
        part = values[top : top + rows]
        if np.isnan(part).any():
            raise ImageError(f"cannot read {name}", "some of its values are not numbers", "Fill these in.")
        scaled[top : top + rows] = _scaled(part, low, high)
    return scaled


@lru_cache(maxsize=4)
def _table(low: float, high: float, count: int) -> NDArray[np.uint8]:
    """The bytes that the numbers 0, 1, 2 ... become."""
    return _scaled(np.arange(count), low, high)


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    return np.floor(np.clip((values.astype(np.float64) - low) * (255 / (high - low)), 0, 255) + 0.5).astype(np.uint8)


def _range_of(values: NDArray[Any], name: str) -> tuple[float, float]:
    """The whole range of 16 bits, where the values use enough of it."""
    lowest, highest = values.min().item(), values.max().item()
    if values.dtype.newbyteorder("=") != np.uint16:
        raise ImageError(
            f"cannot read {name}",
            f"its pixels are numbers of type {values.dtype.name}, whose range is not known",
            f"Set preprocess.range; here they reach from {lowest:g} to {highest:g}.",
        )
    if 0 < highest * _DARK <= _WORD_RANGE[1]:
        raise ImageError(
            f"cannot read {name}",
            f"its highest value is {highest:,} of 65,535: as fewer bits kept in 16, of which 8 bits show next to "
            "nothing",
            f"Set preprocess.range, such as [0, {2 ** highest.bit_length() - 1}].",
        )
    return _WORD_RANGE
