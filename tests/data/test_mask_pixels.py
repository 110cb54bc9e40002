"""Mask files of other kinds than PNG: each value is kept, or the file is refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.data.contents import Content
from convsmith.data.masks.mask_file import MaskRules, decode_mask
from convsmith.data.masks.mask_pixels import decode_pixels, is_of_colours

VALUES = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
RULES = MaskRules({value: value for value in range(5)})


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def npy(values: NDArray[Any], **options: Any) -> bytes:
    data = io.BytesIO()
    np.save(data, values, **options)
    return data.getvalue()


def palette(values: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(values)
    picture.putpalette(np.arange(768, dtype=np.uint8)[::-1].tobytes())
    return picture


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_pixels(data, "m")
    return caught.value.why


def header(shape: tuple[int, ...], dtype: str) -> bytes:
    """An NPY file that ends behind its head."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PNG"])
def test_grey_and_palettes_are_values_in_each_kind_of_picture(kind: str) -> None:
    for picture in (Image.fromarray(VALUES), palette(VALUES)):
        assert np.array_equal(decode_mask(saved(picture, kind), RULES), VALUES)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PNG"])
def test_one_bit_is_two_values_in_each_kind_of_picture(kind: str) -> None:
    values = VALUES > 2
    assert np.array_equal(decode_mask(saved(Image.fromarray(values), kind), RULES), values)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PNG"])
def test_colours_are_looked_up_in_each_kind_of_picture(kind: str) -> None:
    colours = np.array([(9, 0, 0), (0, 9, 0), (0, 0, 9)], np.uint8)
    rules = MaskRules({0: 0, 1: 1, 2: 2}, colours=[(9, 0, 0), (0, 9, 0), (0, 0, 9)])
    data = saved(Image.fromarray(colours[None]), kind)
    assert decode_mask(data, rules).tolist() == [[0, 1, 2]]
    assert is_of_colours(Content("m", lambda: io.BytesIO(data)))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_keeps_its_values_however_it_is_packed(compression: str, dtype: Any) -> None:
    values = np.array([[0, 4], [2, 1]], dtype)
    assert np.array_equal(decode_mask(saved(Image.fromarray(values), "TIFF", compression=compression), RULES), values)


def test_a_tiff_of_16_bits_in_the_other_order_of_bytes_keeps_its_values() -> None:
    entries = [(256, 3, 1, 2 << 16), (257, 3, 1, 1 << 16), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16)]
    entries += [(262, 3, 1, 1 << 16), (273, 4, 1, 200), (277, 3, 1, 1 << 16), (278, 3, 1, 1 << 16), (279, 4, 1, 4)]
    directory = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)
    data = (b"MM\0*" + struct.pack(">I", 8) + directory + bytes(4)).ljust(200, b"\0") + struct.pack(">HH", 300, 7)
    assert decode_pixels(data, "m").tolist() == [[300, 7]]


def test_a_tiff_compressed_as_a_photograph_is_refused() -> None:
    assert "compressed as a photograph" in refusal(saved(Image.fromarray(VALUES), "TIFF", compression="jpeg"))


def test_a_tiff_of_several_pages_is_refused_and_one_with_smaller_copies_is_not() -> None:
    page, more = Image.fromarray(VALUES), Image.new("L", (3, 2))
    assert refusal(saved(page, "TIFF", save_all=True, append_images=[more])) == "it has several pages"
    smaller = Image.new("L", (1, 1))
    smaller.encoderinfo = {"tiffinfo": {254: 1}}
    data = saved(page, "TIFF", save_all=True, append_images=[smaller])
    assert np.array_equal(decode_mask(data, RULES), VALUES)


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (Image.new("F", (2, 2)), "floating-point"),
        (Image.new("I", (2, 2)), "32-bit"),
        (Image.new("CMYK", (2, 2)), "pixels of the kind CMYK"),
    ],
)
def test_a_tiff_of_what_is_no_value_is_refused(picture: Image.Image, why: str) -> None:
    assert why in refusal(saved(picture, "TIFF"))


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "i4", "<i8", ">i8", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_whole_numbers_of_each_type_are_values_in_an_npy_file(dtype: str, order: Any) -> None:
    values = np.array([[0, 1, 2], [3, 4, 4]], dtype, order=order)
    assert np.array_equal(decode_mask(npy(values), RULES), values)


def test_an_npy_file_of_truth_values_has_two_classes() -> None:
    assert decode_mask(npy(VALUES > 2), RULES).tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("value", [-1, -5, 70_000, 2**40])
def test_a_number_that_no_mask_has_is_not_a_class(value: int) -> None:
    with pytest.raises(ImageError, match=f"it holds the value {value}, not only 0 to 4 and 255"):
        decode_mask(npy(np.array([[0, value]])), RULES)


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 2)), np.zeros((2, 2, 1), int), np.zeros(4, int), np.zeros((0, 2), int), np.array([["a"]])],
)
def test_an_array_of_anything_but_whole_numbers_in_two_dimensions_is_refused(values: NDArray[Any]) -> None:
    assert "not of whole numbers [height, width]" in refusal(npy(values))


def test_nothing_in_an_npy_file_is_unpickled() -> None:
    assert "not of whole numbers" in refusal(npy(np.array([[{}]], object), allow_pickle=True))


def test_an_array_of_too_many_values_is_refused_by_its_head() -> None:
    with pytest.raises(ImageTooLarge, match="an image may have"):
        decode_pixels(header((10**6, 10**6), "|u1"), "m")


@pytest.mark.parametrize("data", [npy(VALUES)[:-1], npy(VALUES) + b"\0"])
def test_an_array_that_does_not_fill_its_file_is_refused(data: bytes) -> None:
    assert refusal(data) == "it is cut off, or more follows its values"


@pytest.mark.parametrize(
    "data",
    [b"\x93NUMPY", b"\x93NUMPY\x09\x00", header((2, 2), "|u1")[:20], header((2, 2), "?!"), header((2, 2), "|u1")[:-9]],
)
def test_a_damaged_head_of_an_npy_file_is_refused(data: bytes) -> None:
    assert "its head is not that of an NPY file" in refusal(data)


def test_damage_in_an_npy_file_is_an_image_error_or_harmless() -> None:
    whole = npy(VALUES)
    for place in range(len(whole)):
        for byte in (0, 39, 255):
            data = bytearray(whole)
            data[place] = byte
            try:
                decode_mask(bytes(data), RULES)
            except ImageError:
                continue
