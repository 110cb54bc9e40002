"""Training on images far larger than the crop: any scale, and memory for the image alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from convsmith.data.augment.transform import pair_transform
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.data.read_image import pixels_of
from convsmith.recipe.augmentation import Augment, RandomScaleCrop
from convsmith.recipe.mask_data import Masks
from convsmith.spec import WholeImage

READ_ALL = """
import resource, sys
from pathlib import Path
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.recipe.augmentation import Augment, RandomScaleCrop
from convsmith.recipe.mask_data import Masks
from convsmith.spec import WholeImage

folder = open_mask_folder(Path(sys.argv[1]), Masks(classes=("a", "b")), None)
crop = RandomScaleCrop(size=(512, 512), scale=(float(sys.argv[2]),) * 2)
read = folder.training_reader("train", Augment(random_scale_crop=crop), WholeImage(method="whole"))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
image, mask = read(0)
assert tuple(image.shape) == (3, 512, 512) and tuple(mask.shape) == (512, 512)
print(peak() - before)
"""


def test_a_photo_of_24_megapixels_is_cropped_at_twice_its_size() -> None:
    crop = RandomScaleCrop(size=(64, 64), scale=(2.0, 2.0))
    transform = pair_transform(Augment(random_scale_crop=crop), WholeImage(method="whole"))
    image, mask = transform(np.full((4000, 6000, 3), 7, np.uint8), np.ones((4000, 6000), np.uint8))
    assert set(image.flatten().tolist()) == {7}
    assert set(mask.flatten().tolist()) == {1}


def test_a_photo_of_25_megapixels_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, mode, name in (("images", "RGB", "photo.jpg"), ("masks", "L", "photo.png")):
        (tmp_path / kind / "train").mkdir(parents=True)
        Image.new(mode, (5000, 5000)).save(tmp_path / kind / "train" / name)
    decoded = Mock(wraps=simplejpeg.decode_jpeg)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoded)
    monkeypatch.setattr(JpegImageFile, "load", Mock(side_effect=AssertionError("Pillow decodes it, too")))
    folder = open_mask_folder(tmp_path, Masks(classes=("a", "b")), None)
    crop = RandomScaleCrop(size=(64, 64), scale=(2.0, 2.0))
    image, mask = folder.training_reader("train", Augment(random_scale_crop=crop), WholeImage(method="whole"))(0)
    assert (image.shape, mask.shape, decoded.call_count) == ((3, 64, 64), (64, 64), 1)


@pytest.mark.parametrize("height", [5, 1024, 1025, 3000])
def test_pixels_are_those_of_the_picture(height: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, 7, 3), dtype=np.uint8)
    pixels = pixels_of(Image.fromarray(noise))
    assert np.array_equal(pixels, noise)
    assert pixels.flags.writeable


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["0.5", "2.0"])
def test_a_tile_of_10_000_by_10_000_costs_10_bytes_a_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: str
) -> None:
    """Pillow takes 4 for the image, its pixels 3, the mask and its classes 2; the crop next to nothing."""
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "100000000")
    for kind, mode in (("images", "RGB"), ("masks", "L")):
        (tmp_path / kind / "train").mkdir(parents=True)
        Image.new(mode, (10_000, 10_000)).save(tmp_path / kind / "train" / "tile.png", compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path), scale], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10 * 10_000 * 10_000
