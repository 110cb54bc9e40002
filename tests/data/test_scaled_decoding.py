"""`data.decode: scaled`: JPEGs are decoded as small as their crops allow, and the draws are those of exact decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

import convsmith as cs
from convsmith.bundle.images.decode import decode_rgb, size_of
from convsmith.data.augment.transform import drawn_transform, train_transform
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.image_data import ImageData
from convsmith.errors import ConvsmithError
from convsmith.recipe.augmentation import Augment, EfficientNetCrop, RandomCrop, RandomResizedCrop
from convsmith.spec import Preprocess

PREPROCESS = Preprocess(resize=40, crop=32)
CROPS = {
    "random_resized_crop": Augment(random_resized_crop=RandomResizedCrop(size=32), hflip=0.5),
    "efficientnet_crop": Augment(efficientnet_crop=EfficientNetCrop(size=32), hflip=0.5),
    "random_crop": Augment(random_crop=RandomCrop(size=32, padding=4), hflip=0.5),
}


def picture(height: int, width: int) -> Image.Image:
    """A smooth one: the crop of a smaller image begins at a whole pixel of that, a third of a pixel off at most."""
    small = np.random.default_rng(height).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    """A large photograph upright, one that lies on its side, a PNG, a CMYK JPEG and a small JPEG, in two classes."""
    root = tmp_path_factory.mktemp("photographs")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in ("a", "b"):
        (root / name).mkdir()
        picture(600, 901).save(root / name / "1-large.jpg", quality=95)
        picture(600, 901).save(root / name / "2-turned.jpg", quality=95, exif=exif)
        picture(600, 901).save(root / name / "3-other.png")
        picture(600, 901).convert("CMYK").save(root / name / "4-cmyk.jpg", quality=95)
        picture(40, 50).save(root / name / "5-small.jpg", quality=95)
    return open_image_folder(root, None)


def both(folder: ImageData, augment: Augment, i: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    images = []
    for decode in ("exact", "scaled"):
        torch.manual_seed(seed)
        image, _ = folder.training_reader("train", augment, PREPROCESS, decode)(i)
        images.append(image.numpy().astype(int))
        images.append(torch.rand(4).numpy())
    assert np.array_equal(images[1], images[3])  # the next random numbers are the same, too
    return images[0], images[2]


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("i", range(4))
def test_an_image_is_almost_the_one_of_exact_decoding(folder: ImageData, crop: str, i: int) -> None:
    differences = [np.abs(np.subtract(*both(folder, CROPS[crop], i, seed))) for seed in range(6)]
    assert max(it.mean() for it in differences) < 3
    assert max(it.max() for it in differences) <= 24


@pytest.mark.parametrize("crop", CROPS)
def test_small_images_are_those_of_exact_decoding(folder: ImageData, crop: str) -> None:
    for seed in range(6):
        assert np.array_equal(*both(folder, CROPS[crop], 4, seed))


@settings(deadline=None)
@given(
    crop=st.sampled_from(sorted(CROPS)),
    size=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    seed=st.integers(0, 2**31),
)
def test_the_least_size_is_at_most_the_image_and_gives_a_training_image(
    crop: str, size: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    least, transform = drawn_transform(CROPS[crop], PREPROCESS)(size)
    assert all(1 <= small <= side for small, side in zip(least, size, strict=True))
    assert transform(np.zeros((*least, 3), np.uint8)).shape == (3, 32, 32)


@pytest.mark.parametrize("crop", CROPS)
def test_an_image_in_its_own_size_is_that_of_the_usual_transform(crop: str) -> None:
    pixels = np.array(picture(61, 83))
    torch.manual_seed(3)
    _, transform = drawn_transform(CROPS[crop], PREPROCESS)((61, 83))
    scaled = transform(pixels)
    torch.manual_seed(3)
    assert torch.equal(scaled, train_transform(CROPS[crop], PREPROCESS)(pixels))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_decoded_in_the_smallest_half_that_suffices(orientation: int) -> None:
    data = simplejpeg.encode_jpeg(np.array(picture(600, 902)))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = exif_in(data, exif)
    whole = (600, 902) if orientation == 1 else (902, 600)
    for least, found in (
        ((300, 451), (451, 300)),
        ((301, 451), (902, 600)),
        ((75, 10), (113, 75)),
        (whole, (902, 600)),
    ):
        asked: list[tuple[int, int]] = []

        def of(size: tuple[int, int], least: tuple[int, int] = least, asked: list[tuple[int, int]] = asked) -> Any:
            asked.append(size)
            return least if orientation == 1 else least[::-1]

        made = size_of(decode_rgb(data, least=of))
        assert asked == [whole]
        assert made == (found if orientation == 1 or found == found[::-1] else found[::-1])


def exif_in(data: bytes, exif: Image.Exif) -> bytes:
    content = exif.tobytes()
    return data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + data[2:]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("resnest50-in1k", ["augment.policy.before_crop=true"]),
        ("digit-scenes", []),
    ],
)
def test_what_has_no_crop_to_begin_with_is_refused(name: str, overrides: list[str]) -> None:
    with pytest.raises(ConvsmithError, match=r"data\.decode"):
        cs.load_recipe(name, ["data.decode=scaled", *overrides])
