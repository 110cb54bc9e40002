"""Bytes of a mask file become class numbers, and never anything worse than an `ImageError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.bands import decode
from convsmith.bundle.images.decode import Picture, size_of
from convsmith.bundle.images.image_error import ImageError
from convsmith.data.contents import Content
from convsmith.data.masks.mask_pixels import Colour, decode_pixels, unusable
from convsmith.errors import printable
from convsmith.recipe.mask_data import MAX_VALUE
from convsmith.spec import IGNORED, RGB, Bands

_NO_CLASS = -1
_BLOCK = 1 << 18  # pixels looked up at once, which bounds the memory for their positions in the table
_SHOWN = 5  # values or colours that an error names
_RESIZE = "Make it as large as the image, by nearest and no other interpolation, or find out whose mask it is."
_TURN = "Turn the mask, or take the orientation out of the image."
_CORRECT = "Correct the mask, or set data.masks.label_map, ignore_index, colours or others."


class MaskRules:
    """The meaning of the pixels in mask files.

    A grey or palette pixel is a value; an RGB pixel is the position of its colour in `colours`, which is a value too.
    A value has a class in `values`, or else does not count where it is `ignore_index`, or else is an error.

    Args:
        values: by value, 0 to 65535, its class in 0 to 254, or 255 where it does not count.
        ignore_index: a value that does not count unless `values` has it.
        ignore_others: whether values and colours that are not a class do not count either, instead of being an error.
        colours: all different; None where no file is RGB.
    """

    def __init__(
        self,
        values: Mapping[int, int],
        ignore_index: int = IGNORED,
        ignore_others: bool = False,
        colours: Sequence[Colour] | None = None,
    ) -> None:
        known = {ignore_index: IGNORED, **values}
        self._known = sorted(known)
        self.meanings: Mapping[int, int] = known
        """By value, its class, or 255 where it does not count."""
        # one more for a colour that is not in the table
        self._classes = np.full(MAX_VALUE + 2, IGNORED if ignore_others else _NO_CLASS, np.int16)
        self._classes[list(known)] = list(known.values())
        self._codes: NDArray[np.uint32] | None = None
        if colours is not None:
            codes = _codes(np.array(colours, np.uint8).reshape(-1, 3))
            self._colour_values = np.argsort(codes)
            self._codes = codes[self._colour_values]

    def classes_of(self, pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
        """Classes `[H, W]`, 255 where a pixel does not count, of values `[H, W]` or colours uint8 `[H, W, 3]`.

        Raises:
            ImageError: colours without a table, or what is not a class; it names the mask and the first of them.
        """
        if pixels.ndim == 3 and self._codes is None:
            raise unusable(
                name,
                "it is an RGB picture, and data.masks.colours does not say which colour is which value",
                f"It holds {_shown(colours_of(pixels), 2 * _SHOWN)}: set data.masks.colours, or save it in grey.",
            )
        flat = pixels.reshape(-1, *pixels.shape[2:])
        classes = np.empty(len(flat), np.uint8)
        for first in range(0, len(flat), _BLOCK):
            block = flat[first : first + _BLOCK]
            found = self._classes[self._values_of(block) if block.ndim == 2 else _within(block)]
            if (wrong := found < 0).any():
                raise unusable(name, self._what_is_wrong(block[wrong]), _CORRECT)
            classes[first : first + _BLOCK] = found
        return classes.reshape(pixels.shape[:2])

    def _values_of(self, colours: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Values `[N]` of colours `[N, 3]`."""
        assert self._codes is not None
        codes = _codes(colours)
        runs = np.flatnonzero(np.diff(codes, prepend=~codes[:1]))  # a mask has few edges: search once for each run
        heads = codes[runs]
        places = np.searchsorted(self._codes[:-1], heads)
        values = np.where(self._codes[places] == heads, self._colour_values[places], MAX_VALUE + 1)
        return np.repeat(values, np.diff(runs, append=len(codes)))

    def _what_is_wrong(self, pixels: NDArray[Any]) -> str:
        if pixels.ndim == 2:
            return f"it holds the colours {_shown(colours_of(pixels))}, which are not classes in data.masks.colours"
        wrong = np.unique(pixels).tolist()
        return f"it holds the value{'s' * (len(wrong) > 1)} {_shown(wrong)}, not only {_ranges(self._known)}"


def read_mask(mask: Content, rules: MaskRules) -> NDArray[np.uint8]:
    """`decode_mask` of the content; errors name it."""
    return decode_mask(mask.read(), rules, mask.name)


def decode_mask(data: bytes, rules: MaskRules, name: str = "mask") -> NDArray[np.uint8]:
    """The class of each pixel, uint8 `[H, W]`, 255 where it does not count, of a PNG, TIFF, BMP or NPY file.

    Grey and palettes are values; the colours of a palette mean nothing. RGB is looked up in the rules' colours; an
    alpha channel has to be opaque. An EXIF orientation of the mask's own is applied, as to images.

    Args:
        data: the whole file.
        rules: what its pixels mean.
        name: what an error calls it.

    Raises:
        ImageTooLarge: more than `max_pixels()` pixels.
        ImageError: not such a file, damaged, or with values or colours that are not a class.
    """
    return rules.classes_of(decode_pixels(data, name), name)


def read_pair(image: Content, mask: Content, rules: MaskRules, bands: Bands = RGB) -> tuple[Picture, NDArray[np.uint8]]:
    """An image, upright, and the classes of its pixels, uint8 `[H, W]`, 255 where they do not count.

    Raises:
        ImageError: one of them cannot be read, or they differ in size; it names the image, and the mask where that is
            at fault.
    """
    picture = decode(image.read(), image.name, bands)
    try:
        classes = read_mask(mask, rules)
    except ImageError as error:
        raise _mask_at_fault(image, mask, error) from error
    _check_sizes(image, size_of(picture), mask, classes.shape[::-1])
    return picture, classes


def read_mask_of(image: Content, mask: Content, rules: MaskRules, bands: Bands = RGB) -> NDArray[np.uint8]:
    """The classes of `read_pair`, or the `ImageError` that it would raise, as far as the header of the image tells."""
    size = image.check_header(bands)
    try:
        classes = read_mask(mask, rules)
    except ImageError as error:
        raise _mask_at_fault(image, mask, error) from error
    _check_sizes(image, size, mask, classes.shape[::-1])
    return classes


def colours_of(pixels: NDArray[np.uint8]) -> list[Colour]:
    """The different colours in `[..., 3]`, sorted."""
    codes = np.unique(_codes(pixels.reshape(-1, 3))).tolist()
    return [(code >> 16, code >> 8 & 255, code & 255) for code in codes]


def _within(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers of any size, those that no mask has as one that is not a class."""
    if values.dtype in (np.uint8, np.uint16):
        return values
    return np.where((values < 0) | (values > MAX_VALUE), MAX_VALUE + 1, values).astype(np.int64)


def _shown(found: Sequence[int] | Sequence[Colour], limit: int = _SHOWN) -> str:
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(str(list(it) if isinstance(it, tuple) else it) for it in found[:limit]) + more


def _codes(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number uint32 `[N]` for each colour `[N, 3]`."""
    red, green, blue = (colours[:, channel].astype(np.uint32) for channel in range(3))
    return (red << np.uint32(16)) | (green << np.uint32(8)) | blue


def _ranges(values: Sequence[int]) -> str:
    """Sorted values in words: `0 to 10 and 255`."""
    cuts = [i for i, (low, high) in enumerate(pairwise(values), 1) if high != low + 1]
    spans = [values[start:end] for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True)]
    texts = [str(span[0]) if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _check_sizes(image: Content, size: tuple[int, ...], mask: Content, mask_size: tuple[int, ...]) -> None:
    if size == mask_size:
        return
    turned = size == mask_size[::-1]
    hint = "; it has to lie as the image does once its EXIF orientation is applied" * turned
    why = f"it has {mask_size[0]} x {mask_size[1]} pixels, the image {size[0]} x {size[1]}{hint}"
    raise _mask_at_fault(image, mask, ImageError("", why, _TURN if turned else _RESIZE))


def _mask_at_fault(image: Content, mask: Content, error: ImageError) -> ImageError:
    return ImageError(f"cannot use {image.name}", f"its mask {printable(mask.name)}: {error.why}", error.fix)
