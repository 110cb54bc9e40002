from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import ExifTags, Image

from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.images.limits import MAX_PIXELS
from convsmith.data.contents import Content
from convsmith.data.masks.mask_file import MaskRules, decode_mask, read_mask, read_mask_of, read_pair
from tests.data.folders import png
from tests.data.masks import mask_png

COLOURS = [(0, 0, 0), (255, 0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0)]
FIVE = MaskRules({value: value for value in range(5)}, colours=COLOURS)
five_classes = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def few_bits(values: NDArray[np.uint8], depth: int, palette: bool) -> bytes:
    """A PNG of 1, 2, 4 or 8 bits a pixel, of grey or of palette indices, as PNG's specification lays them out."""
    height, width = values.shape
    bits = np.unpackbits(values[..., None], axis=2)[..., 8 - depth :].reshape(height, width * depth)
    rows = np.packbits(bits, axis=1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, 3 if palette else 0, 0, 0, 0)
    colours = chunk(b"PLTE", bytes(range(2**depth)) * 3) if palette else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + colours
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def refusal(data: bytes, rules: MaskRules = FIVE) -> str:
    with pytest.raises(ImageError) as caught:
        decode_mask(data, rules, "m.png")
    assert "m.png" in caught.value.what
    return caught.value.why


# Kinds of mask files


@given(five_classes, st.booleans())
def test_grey_and_palette_files_give_their_indices(values: NDArray[np.uint8], palette: bool) -> None:
    assert np.array_equal(decode_mask(mask_png(values, palette), FIVE), values)


@given(st.sampled_from([1, 2, 4, 8]), st.booleans(), st.data())
def test_few_bits_give_their_indices(depth: int, palette: bool, data: st.DataObject) -> None:
    rules = MaskRules({value: value for value in range(255)})
    shape = array_shapes(min_dims=2, max_dims=2, max_side=12)
    values = data.draw(arrays(np.uint8, shape, elements=st.integers(0, min(2**depth - 1, 254))))
    assert np.array_equal(decode_mask(few_bits(values, depth, palette), rules), values)


@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([7, 300, 65535])))
def test_grey_of_16_bits_gives_its_values(values: NDArray[np.uint16]) -> None:
    expected = np.select([values == 7, values == 300], [0, 1], 255)
    assert np.array_equal(decode_mask(mask_png(values), MaskRules({7: 0, 300: 1, 65535: 255})), expected)


@given(five_classes)
def test_rgb_files_give_the_places_of_their_colours(values: NDArray[np.uint8]) -> None:
    assert np.array_equal(decode_mask(mask_png(np.array(COLOURS, np.uint8)[values]), FIVE), values)


@given(five_classes, st.sampled_from(["LA", "RGBA"]))
def test_an_opaque_alpha_channel_changes_nothing(values: NDArray[np.uint8], mode: str) -> None:
    pixels = values if mode == "LA" else np.array(COLOURS, np.uint8)[values]
    data = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(data, "PNG")
    assert np.array_equal(decode_mask(data.getvalue(), FIVE), values)


def test_a_mask_is_uint8() -> None:
    assert decode_mask(mask_png(np.zeros((2, 3), np.uint16)), FIVE).dtype == np.dtype(np.uint8)


@settings(max_examples=5)
@given(st.integers(0, 4), st.integers(0, 4))
def test_masks_beyond_one_block_are_right(first: int, second: int) -> None:
    values = np.full((600, 500), first, np.uint8)
    values[-1, -1] = second
    assert np.array_equal(FIVE.classes_of(values, "m"), values)
    assert np.array_equal(FIVE.classes_of(np.array(COLOURS, np.uint8)[values], "m"), values)


# What values mean


label_maps = st.dictionaries(st.integers(0, 65535), st.sampled_from([*range(5), 254, 255]), min_size=1, max_size=20)


@given(label_maps, st.integers(0, 65535), st.data())
def test_each_value_becomes_its_class(values: dict[int, int], ignore_index: int, data: st.DataObject) -> None:
    known = {ignore_index: 255, **values}
    pixels = np.array(data.draw(st.lists(st.sampled_from(sorted(known)), min_size=1)), np.uint16)[None]
    classes = MaskRules(values, ignore_index).classes_of(pixels, "m")
    assert classes.tolist() == [[known[value] for value in pixels[0].tolist()]]


@given(label_maps, st.integers(0, 65535))
def test_any_other_value_is_an_error_or_does_not_count(values: dict[int, int], value: int) -> None:
    pixels = np.array([[value]], np.uint16)
    expected = values.get(value, 255)
    assert MaskRules(values, ignore_others=True).classes_of(pixels, "m").tolist() == [[expected]]
    if value not in {255, *values}:
        with pytest.raises(ImageError, match=f"it holds the value {value}, not only"):
            MaskRules(values).classes_of(pixels, "m")


def test_the_label_map_goes_before_the_ignore_index() -> None:
    assert MaskRules({0: 0, 255: 1}).classes_of(np.array([[0, 255]]), "m").tolist() == [[0, 1]]


def test_colours_are_values_for_the_label_map_and_the_ignore_index() -> None:
    rules = MaskRules({0: 1, 1: 1, 3: 0}, ignore_index=2, colours=COLOURS)
    pixels = np.array([COLOURS[:4]], np.uint8)
    assert rules.classes_of(pixels, "m").tolist() == [[1, 1, 255, 0]]


def test_other_colours_can_be_left_out() -> None:
    rules = MaskRules({0: 0, 1: 1}, ignore_others=True, colours=COLOURS[:2])
    assert rules.classes_of(np.array([[COLOURS[1], (9, 9, 9)]], np.uint8), "m").tolist() == [[1, 255]]


@given(st.integers(0, 2**24 - 1))
def test_no_colour_is_taken_for_another(code: int) -> None:
    colour = (code >> 16, code >> 8 & 255, code & 255)
    expected = COLOURS.index(colour) if colour in COLOURS else 255
    rules = MaskRules({value: value for value in range(5)}, ignore_others=True, colours=COLOURS)
    assert rules.classes_of(np.array([[colour]], np.uint8), "m").tolist() == [[expected]]


def test_rules_go_to_worker_processes() -> None:
    copy = pickle.loads(pickle.dumps(FIVE))
    assert copy.classes_of(np.array([[4, 255]], np.uint8), "m").tolist() == [[4, 255]]


# Errors


def test_the_error_says_which_values_are_no_class_and_which_would_be() -> None:
    rules = MaskRules(dict.fromkeys([0, 1, 2, 3, 7, 9, 10], 0))
    why = refusal(mask_png([[0, 4, 12], [5, 5, 11]]), rules)
    assert why == "it holds the values 4, 5, 11, 12, not only 0 to 3, 7, 9 to 10 and 255"


@pytest.mark.parametrize(
    ("count", "values"), [(100, "5, 6, 7, 8, 9 and 90 more"), (11, "5, 6, 7, 8, 9 and 1 more"), (10, "5, 6, 7, 8, 9")]
)
def test_the_error_says_which_of_many_values(count: int, values: str) -> None:
    why = refusal(mask_png(np.arange(count, dtype=np.uint8)[None]))
    assert why == f"it holds the values {values}, not only 0 to 4 and 255"


def test_the_error_says_which_colours_are_no_class() -> None:
    why = refusal(mask_png(np.array([[(0, 0, 0), (9, 8, 7)]], np.uint8)))
    assert why == "it holds the colours [9, 8, 7], which are not classes in data.masks.colours"


def test_rgb_without_colours_is_refused() -> None:
    assert "data.masks.colours does not say" in refusal(png(), MaskRules({0: 0}))


def test_transparent_parts_are_refused() -> None:
    data = io.BytesIO()
    Image.new("RGBA", (2, 2), (0, 0, 0, 254)).save(data, "PNG")
    assert refusal(data.getvalue()) == "parts of it are transparent"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_kinds_that_lose_values_are_refused(kind: str) -> None:
    data = io.BytesIO()
    Image.new("L", (2, 2)).save(data, kind)
    assert "only PNG, TIFF, BMP and NPY are sure to keep each value" in refusal(data.getvalue())


def test_colours_of_16_bits_are_refused() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(7)))
    data = b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
    assert refusal(data) == "it has colours of 16 bits"


def test_empty_and_foreign_bytes_are_refused() -> None:
    assert refusal(b"") == "it is empty"
    assert "not an image of a known kind" in refusal(b"mask")


@given(st.integers(0, 200), st.integers(0, 255))
def test_damage_is_an_image_error_or_harmless(place: int, byte: int) -> None:
    data = bytearray(mask_png(np.tile(np.arange(5, dtype=np.uint8), (9, 4)), palette=True))
    data[place % len(data)] = byte
    try:
        decode_mask(bytes(data), FIVE)
    except ImageError:
        return


@given(st.integers(8, 100))
def test_a_cut_file_is_refused(length: int) -> None:
    assert refusal(mask_png(np.random.default_rng(0).integers(0, 5, (30, 30), dtype=np.uint8))[:length])


def test_a_mask_with_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    with pytest.raises(ImageTooLarge):
        decode_mask(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""), FIVE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot read .*none\.png: no such file"):
        read_mask(Content.of_file(tmp_path / "none.png"), FIVE)


# Pairs


def write(root: Path, image: Image.Image, mask: Any, orientation: int | None = None) -> tuple[Path, Path]:
    """An image as JPEG, with an EXIF orientation, and a mask."""
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    image.save(root / "i.jpg", quality=100, exif=exif)
    (root / "m.png").write_bytes(mask if isinstance(mask, bytes) else mask_png(mask))
    return root / "i.jpg", root / "m.png"


def contents(pair: tuple[Path, Path]) -> tuple[Content, Content]:
    """What the two files hold."""
    return Content.of_file(pair[0]), Content.of_file(pair[1])


def read_twice(pair: tuple[Path, Path]) -> str:
    """What the header check and reading say alike."""
    with pytest.raises(ImageError) as by_header:
        read_mask_of(*contents(pair), FIVE)
    with pytest.raises(ImageError) as by_reading:
        read_pair(*contents(pair), FIVE)
    assert str(by_header.value) == str(by_reading.value)
    return str(by_reading.value)


def test_a_pair_is_a_picture_and_its_classes(tmp_path: Path) -> None:
    pair = write(tmp_path, Image.new("L", (3, 2), 200), [[0, 1, 2], [3, 4, 255]])
    read_mask_of(*contents(pair), FIVE)
    picture, classes = read_pair(*contents(pair), FIVE)
    assert np.asarray(picture).tolist() == [[[200] * 3] * 3] * 2
    assert classes.tolist() == [[0, 1, 2], [3, 4, 255]]


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    image, mask = pair = write(tmp_path, Image.new("L", (6, 4)), np.zeros((4, 5), np.uint8))
    message = read_twice(pair)
    assert message.startswith(f"cannot use {image}: its mask {mask}: it has 5 x 4 pixels, the image 6 x 4\n")
    assert "by nearest" in message


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_lies_as_the_upright_image_does(tmp_path: Path, orientation: int) -> None:
    pair = write(tmp_path, Image.new("L", (6, 4)), np.zeros((6, 4), np.uint8), orientation)
    read_mask_of(*contents(pair), FIVE)
    picture, classes = read_pair(*contents(pair), FIVE)
    assert picture.size == (4, 6)
    assert classes.shape == (6, 4)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_the_image_before_it_is_turned_is_refused(tmp_path: Path, orientation: int) -> None:
    pair = write(tmp_path, Image.new("L", (6, 4)), np.zeros((4, 6), np.uint8), orientation)
    assert "once its EXIF orientation is applied" in read_twice(pair)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_mask_itself_is_applied_as_to_an_image(tmp_path: Path, orientation: int) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for name, palette in (("grey", False), ("palette", True)):
        Image.open(io.BytesIO(mask_png(values, palette))).save(tmp_path / f"{name}.png", exif=exif)
        mask, rules = Content.of_file(tmp_path / f"{name}.png"), MaskRules({value: value for value in range(6)})
        Image.fromarray(values * 40).save(tmp_path / "image.png", exif=exif)
        picture, classes = read_pair(Content.of_file(tmp_path / "image.png"), mask, rules)
        assert np.array_equal(read_mask(mask, rules), classes)
        assert np.array_equal(np.asarray(picture)[..., 0], classes * 40)


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    image, mask = write(tmp_path, Image.new("L", (6, 4)), np.zeros((4, 6), np.uint8))
    image.write_bytes(b"text")
    assert read_twice((image, mask)).startswith(f"cannot read {image}: it is not an image")


def test_an_unreadable_mask_is_named_with_its_image(tmp_path: Path) -> None:
    image, mask = pair = write(tmp_path, Image.new("L", (6, 4)), b"text")
    assert read_twice(pair).startswith(f"cannot use {image}: its mask {mask}: it is not an image")


def test_a_value_that_is_no_class_is_named_with_its_file_and_what_to_do(tmp_path: Path) -> None:
    image, mask = write(tmp_path, Image.new("L", (2, 1)), [[0, 17]])
    with pytest.raises(ImageError) as caught:
        read_pair(Content.of_file(image), Content.of_file(mask), FIVE)
    assert str(caught.value) == (
        f"cannot use {image}: its mask {mask}: it holds the value 17, not only 0 to 4 and 255\n"
        "Correct the mask, or set data.masks.label_map, ignore_index, colours or others."
    )
