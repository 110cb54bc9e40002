from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from tests.data.folders import write_noise
from tests.data.masks import mask_png
from tests.training.conftest import SMALL
from tests.training.scenes import RECIPE, scenes_recipe
from tests.training.test_data_check import check

Paint = Callable[[int], NDArray[np.uint16]]


def write_masked(root: Path, paint: Paint, classes: str = "ground\nhouse\n", names: int = 3) -> Path:
    """Noise of 8 x 6 pixels in images/train and images/val; the mask of image i is `paint(i)`."""
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for folder in ("images", "masks"):
            (root / folder / part).mkdir(parents=True, exist_ok=True)
        for i in range(names):
            Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).save(root / f"images/{part}/{i}.png")
            (root / f"masks/{part}/{i}.png").write_bytes(mask_png(paint(i)))
    (root / "classes.txt").write_text(classes)
    return root


def halves(*values: int) -> Paint:
    """Masks whose columns have these values in turn."""
    dtype = np.uint8 if max(values) < 256 else np.uint16
    return lambda _: np.tile(np.resize(np.array(values, dtype), 8), (6, 1))


def refusal(recipe: Recipe, data: Path, tmp_path: Path) -> ConvsmithError:
    with pytest.raises(ConvsmithError) as caught:
        check(recipe, data, tmp_path / "run")
    return caught.value


def with_label_map(line: str, folder: Path) -> Recipe:
    """The recipe of the tests with a line put below data and masks."""
    content = yaml.safe_load(RECIPE)
    content["data"]["masks"] = yaml.safe_load(line)
    (folder / "pasted.yaml").write_text(yaml.safe_dump(content))
    return load_recipe(folder / "pasted.yaml")


@pytest.mark.parametrize(
    ("values", "classes", "overrides", "label_map"),
    [
        ((0, 255), "ground\nhouse\n", (), "[[0, 0], [255, 1]]"),
        ((0, 1000, 2000), "a\nb\nc\n", ("data.masks.others=ignore",), "[[0, 0], [1000, 1], [2000, 2]]"),
        ((0, 128, 255), "a\nb\nc\n", ("data.masks.others=ignore",), "[[0, 0], [128, 1], [255, 2]]"),
        ((1, 2), "ground\nhouse\n", ("data.masks.others=ignore",), "[[1, 0], [2, 1]]"),
    ],
)
def test_values_that_are_no_classes_print_the_label_map_to_paste(
    tmp_path: Path, values: tuple[int, ...], classes: str, overrides: tuple[str, ...], label_map: str
) -> None:
    data = write_masked(tmp_path / "data", halves(*values), classes)
    error = refusal(scenes_recipe(tmp_path, *overrides), data, tmp_path)
    assert f"hold the values {', '.join(map(str, values))}, and" in error.why
    _, command, _, line, *_ = [part.strip() for part in error.fix.splitlines()]
    assert command == f"data.masks.label_map='{label_map}'"
    word = command.replace("'", "")  # what the shell makes of it
    check(scenes_recipe(tmp_path, word), data, tmp_path / "by command")
    check(with_label_map(line, tmp_path), data, tmp_path / "by recipe")


def test_a_class_without_a_training_pixel_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = write_masked(tmp_path / "data", halves(0, 1), "ground\nhouse\ncar\n")
    error = refusal(scenes_recipe(tmp_path), data, tmp_path)
    assert error.what == "1 of 3 classes have no pixel in the training masks: `car`"
    assert error.fix == "If it is meant so, set data.masks.unseen_classes=allow."


def test_classes_without_training_pixels_can_be_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_masked(tmp_path / "data", halves(0, 1), "ground\nhouse\ncar\n")
    check(scenes_recipe(tmp_path, "data.masks.unseen_classes=allow"), data, tmp_path / "run")
    assert "no pixel in the training masks: `car`" in caplog.text


def test_a_class_that_only_samples_out_of_use_hold_has_no_training_pixel(tmp_path: Path) -> None:
    data = write_masked(tmp_path / "data", lambda i: halves(0, *([1] if i == 0 else []))(i), names=30)
    error = refusal(scenes_recipe(tmp_path, "sampling.fraction=0.1"), data, tmp_path)
    assert "no pixel in the training masks: `house`" in error.what


def test_the_shares_of_pixels_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "convsmith")
    data = write_masked(tmp_path / "data", halves(0, 0, 0, 1, 0, 0, 0, 255))
    check(scenes_recipe(tmp_path), data, tmp_path / "run")
    for kind in ("training", "validation"):
        assert f"pixels of the {kind} masks: ground 85.7 %, house 14.3 %; 12.5 % do not count" in caplog.text


@pytest.mark.parametrize(("part", "kind"), [("train", "training"), ("val", "validation")])
def test_masks_of_which_no_pixel_counts_are_an_error(tmp_path: Path, part: str, kind: str) -> None:
    data = write_masked(tmp_path / "data", halves(0, 1))
    for mask in (data / "masks" / part).iterdir():
        mask.write_bytes(mask_png(halves(255)(0)))
    error = refusal(scenes_recipe(tmp_path), data, tmp_path)
    assert error.what == f"no pixel of the {kind} masks counts"
    assert "data.masks.label_map" in error.fix


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A data set with one validation image of more pixels than a model may look at at once."""
    data = write_masked(tmp_path / "data", halves(0, 1))
    Image.new("1", (5000, 4000)).save(data / "images/val/1.png")
    Image.new("1", (5000, 4000)).save(data / "masks/val/1.png")
    return data


def test_a_validation_image_that_is_too_large_is_named_with_the_key(wide: Path, tmp_path: Path) -> None:
    error = refusal(scenes_recipe(tmp_path), wide, tmp_path)
    assert "images/val/1.png: the model would look at 5000 x 4000 pixels at once" in error.what
    assert "preprocess.window.size='[1024, 1024]'" in error.fix


def test_the_window_that_is_advised_helps(wide: Path, tmp_path: Path) -> None:
    check(scenes_recipe(tmp_path, "preprocess.window.size=[1024, 1024]"), wide, tmp_path / "run")


def test_a_validation_image_that_is_too_large_can_be_skipped(wide: Path, tmp_path: Path) -> None:
    check(scenes_recipe(tmp_path, "data.on_error=skip"), wide, tmp_path / "run")
    (line,) = (tmp_path / "run/bad_files.txt").read_text().splitlines()
    assert line.startswith(f"{wide}/images/val/1.png\t")


def test_a_strip_too_thin_to_be_judged_by_is_named(tmp_path: Path) -> None:
    data = write_noise(tmp_path / "data", 6)
    Image.new("L", (1, 65_000)).save(data / "val/c0/0006.png")
    recipe = load_recipe("digits", [*SMALL, "preprocess.resize=64", "preprocess.crop=64"])
    assert "val/c0/0006.png: its 1 x 65000 pixels would be resized" in refusal(recipe, data, tmp_path).what


def warned(recipe: Recipe, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    check(recipe, data, tmp_path / "run")
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "data", 12)


def test_a_training_says_what_it_has_understood_of_the_data(
    noise: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    check(load_recipe("digits", SMALL), noise, tmp_path / "run")
    lines = [record.getMessage() for record in caplog.records]
    assert "train: 12 images, 10 x 8 pixels, PNG RGB; 2 classes of 6 each" in lines
    assert "val: 2 images, 10 x 8 pixels, PNG RGB; 2 classes of 1 each" in lines


def test_files_that_are_hardly_pictures_are_a_warning(
    noise: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGB", (10, 8), "red").save(noise / "train/c0/plain.png")
    (line,) = warned(load_recipe("digits", SMALL), noise, tmp_path, caplog)
    assert line == f"1 image: all of one colour, such as {noise}/train/c0/plain.png"


def test_images_that_are_all_different_are_no_warning(
    noise: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert warned(load_recipe("digits", SMALL), noise, tmp_path, caplog) == []


def test_validation_images_among_the_training_images_are_a_warning(
    noise: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in noise.glob("val/*/*"):
        shutil.copy(path, noise / "train" / path.parent.name / f"copy-{path.name}")
    (line,) = warned(load_recipe("digits", SMALL), noise, tmp_path, caplog)
    assert line.startswith("2 of 2 validation images are among the training images too, such as ")
    assert f"{noise}/val/c0/0012.png and {noise}/train/c0/copy-0012.png" in line


def test_an_image_in_two_classes_is_a_warning(noise: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(noise / "train/c0/0002.png", noise / "train/c1/other.png")
    (line,) = warned(load_recipe("digits", SMALL), noise, tmp_path, caplog)
    assert line == (f"1 image is in two classes, such as {noise}/train/c0/0002.png and {noise}/train/c1/other.png")


def test_copies_of_one_size_and_ends_that_differ_in_the_middle_are_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_noise(tmp_path / "data", 6)
    for split, level in (("train", 100), ("val", 200)):
        pixels = np.zeros((100, 100, 3), np.uint8)
        pixels[50, 50] = level
        Image.fromarray(pixels).save(data / split / "c0" / "big.bmp")
    assert warned(load_recipe("digits", SMALL), data, tmp_path, caplog) == []


def test_an_image_with_a_mask_in_both_parts_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_masked(tmp_path / "data", halves(0, 1))
    shutil.copy(data / "images/val/2.png", data / "images/train/0.png")
    (line,) = warned(scenes_recipe(tmp_path), data, tmp_path, caplog)
    assert line.startswith("1 of 3 validation images is among the training images too")
