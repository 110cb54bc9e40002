from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from convsmith.analyze.contact_sheet import Tile, draw_sheet, fitted, named_classes, training_tiles, write_sheet
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


@pytest.mark.parametrize(
    ("size", "expected"), [((160, 80), (160, 80)), ((10, 20), (80, 160)), ((400, 4), (160, 2)), ((999, 1), (160, 1))]
)
def test_a_picture_is_scaled_by_its_longer_side(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(Image.new("RGB", size), 160).size == expected


def test_small_pictures_grow_by_whole_pixels() -> None:
    checks = Image.fromarray(np.indices((80, 80)).sum(0).astype(np.uint8) % 2 * 255)
    assert set(np.unique(np.asarray(fitted(checks, 160)))) == {0, 255}
    assert len(np.unique(np.asarray(fitted(checks, 159)))) > 2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (np.array(2), "c"),
        (np.array([1, 0, 1, 0]), "a, c"),
        (np.zeros(4), "none"),
        (np.array([[1, 1, 255], [3, 255, 255]], np.uint8), "b, d"),
        (np.array([[3, 1], [3, 1]], np.uint8), "b, d"),
        (np.full((2, 2), 255, np.uint8), "none"),
    ],
)
def test_classes_are_named_the_largest_of_a_mask_first(target: Any, words: str) -> None:
    assert named_classes(target, "abcd") == words


def test_tiles_stand_in_rows_of_six_with_captions_below() -> None:
    colours = np.random.RandomState(0).randint(1, 200, (8, 3)).astype(np.uint8)
    tiles = [Tile(np.broadcast_to(colour, (40, 80, 3)), "" if i else "x" * 40) for i, colour in enumerate(colours)]
    sheet = np.asarray(draw_sheet(tiles))
    assert sheet.shape == (2 * (160 + 16 + 8) + 8, 6 * (160 + 8) + 8, 3)
    expected = np.full(sheet.shape, 255, np.uint8)
    for number, colour in enumerate(colours):
        left, top = 8 + number % 6 * 168, 8 + number // 6 * 184 + 40  # 80 of 160 pixels high
        expected[top : top + 80, left : left + 160] = colour
    caption = (slice(168, 192), slice(6, 8 + 24 * 8))
    assert (sheet[caption] < 255).any()
    sheet = sheet.copy()
    sheet[caption] = 255
    assert np.array_equal(sheet, expected)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG")])
def test_the_ending_names_the_kind(name: str, kind: str, tmp_path: Path) -> None:
    write_sheet([Tile(np.zeros((4, 4, 3), np.uint8), "a")], tmp_path / name)
    with Image.open(tmp_path / name) as sheet:
        assert (sheet.format, sheet.size) == (kind, (1016, 192))
