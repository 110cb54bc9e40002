from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from convsmith.analyze.contact_sheet import training_tiles
from convsmith.cli.main import app
from convsmith.data.open_data import data_of_recipe
from convsmith.recipe.load import load_recipe
from tests.data.folders import png, write_noise
from tests.data.masks import mask_png


def show(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", "show", *map(str, words)])


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Grey images whose left half is sky, and whose right half does not count."""
    values = np.repeat([[0] * 32 + [255] * 32], 64, axis=0).astype(np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in "abcd":
        (tmp_path / f"images/{name}.png").write_bytes(png((100, 100, 100), (64, 64)))
        (tmp_path / f"masks/{name}.png").write_bytes(mask_png(values))
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    return tmp_path


def test_the_sheet_is_a_picture_of_training_images_with_their_classes(tmp_path: Path) -> None:
    result = show(write_noise(tmp_path / "photos", 6), tmp_path / "sheet.png", "--json", "--recipe", "digits")
    told = json.loads(result.stdout)
    assert (told["images"], set(told["captions"])) == (6, {"c0", "c1"})
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 168 + 8, 184 + 8)


def test_images_are_those_of_the_recipes_augmentation(tmp_path: Path) -> None:
    root = write_noise(tmp_path / "photos", 6)
    plain, other = (load_recipe("digits", [f"seed={seed}"]) for seed in (0, 1))
    first, again, changed = (training_tiles(data_of_recipe(it, root), it) for it in (plain, plain, other))
    assert all(np.array_equal(one.pixels, two.pixels) for one, two in zip(first, again, strict=True))
    assert not all(np.array_equal(one.pixels, two.pixels) for one, two in zip(first, changed, strict=True))


def test_masks_are_drawn_over_images_and_what_does_not_count_is_grey(masked: Path) -> None:
    fixed = ["random_scale_crop.size=[64,64]", "random_scale_crop.scale=[1,1]", "hflip=0", "color_jitter=null"]
    recipe = load_recipe(
        "hrnet_w18_seg-folder", [*(f"augment.{key}" for key in fixed), "data.masks.unseen_classes=allow"]
    )
    tile, *_ = training_tiles(data_of_recipe(recipe, masked), recipe)
    assert tile.caption == "sky"
    assert tile.pixels[0, 0].tolist() == [50, 50, 50]  # black, the colour of class 0, over it
    assert tile.pixels[0, -1].tolist() == [114, 114, 114]  # grey


def test_another_ending_of_the_name_is_refused(tmp_path: Path) -> None:
    result = show(write_noise(tmp_path / "photos", 6), tmp_path / "sheet.pdf", "--recipe", "digits")
    assert result.exit_code != 0


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    root = write_noise(tmp_path / "photos", 6)
    (root / "train/c0/0000.png").write_bytes(b"")
    assert show(root, tmp_path / "sheet.jpg", "--recipe", "digits").exit_code == 0
