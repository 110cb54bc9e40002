from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageOps
from typer.testing import CliRunner, Result

from convsmith.cli.main import app
from tests.data.folders import write_noise
from tests.data.masks import write_folders
from tests.data.pictures import picture


def check(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", "check", *map(str, words)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "photos", 6)


def test_a_good_folder_is_told_in_numbers(photos: Path) -> None:
    result = check(photos)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:2] == ["train: 6 images, 10 x 8 pixels, PNG RGB", "val: 2 images, 10 x 8 pixels, PNG RGB"]
    assert [line for line in lines if line.startswith(("class", "c0", "c1"))] == [
        "class train images val images",
        "c0 3 1",
        "c1 3 1",
    ]
    assert result.exit_code == 0


def test_bad_files_are_named_and_the_exit_code_says_so(photos: Path) -> None:
    (photos / "train/c0/0000.png").write_bytes(b"")
    result = check(photos)
    assert f"bad:   {photos}/train/c0/0000.png: it is empty" in result.stdout
    assert result.exit_code == 2


def test_copies_are_a_warning(photos: Path) -> None:
    shutil.copy(photos / "val/c0/0006.png", photos / "train/c0/copy.png")
    result = check(photos)
    assert "warning: 1 of 2 validation images is among the training images too" in result.stdout
    assert result.exit_code == 0


@pytest.mark.parametrize("copy", ["train/c0/copy.png", "val/c1/copy.png"], ids=["leaked", "two classes"])
def test_copies_are_an_error_where_the_check_is_strict(photos: Path, copy: str) -> None:
    shutil.copy(photos / "val/c0/0006.png", photos / copy)
    result = check(photos, "--strict")
    assert "error: 1 " in result.stdout
    assert "warning" not in result.stdout
    assert result.exit_code == 2


def test_a_strict_check_of_data_without_copies_passes(photos: Path) -> None:
    assert check(photos, "--strict").exit_code == 0


def test_both_names_of_copies_are_in_json(photos: Path) -> None:
    shutil.copy(photos / "val/c0/0006.png", photos / "train/c0/copy.png")
    (copies,) = json.loads(check(photos, "--json").stdout)["copies"]
    assert copies["pairs"] == [[f"{photos}/val/c0/0006.png", f"{photos}/train/c0/copy.png"]]


def test_sizes_and_kinds_of_files_are_told(photos: Path) -> None:
    Image.effect_noise((40, 30), 80).save(photos / "train/c0/large.jpg")
    Image.effect_noise((20, 10), 80).save(photos / "train/c1/other.jpg")
    first, *_ = check(photos).stdout.splitlines()
    assert first == "train: 8 images, 10 x 8 to 40 x 30 pixels (median 10 x 8), 6 PNG RGB, 2 JPEG L"


def test_of_many_classes_the_largest_and_the_smallest_are_shown(tmp_path: Path) -> None:
    write_noise(tmp_path, 30, classes=30)
    Image.effect_noise((10, 8), 80).save(tmp_path / "train/c29/more.png")
    stdout = check(tmp_path).stdout
    found = [line.split()[0] for line in stdout.splitlines() if line.startswith(" c") and line[2].isdigit()]
    assert (len(found), found[0]) == (20, "c29")
    assert "10 classes between" in stdout


def test_of_many_bad_files_the_first_are_printed_and_all_are_in_json(photos: Path) -> None:
    for number in range(30):
        (photos / f"train/c0/bad{number:02}.png").write_bytes(b"no picture")
    bad = [line for line in check(photos).stdout.splitlines() if line.startswith("bad:")]
    assert len(bad) == 11
    assert bad[-1] == "bad:   and 20 more, which --json names"
    assert len(json.loads(check(photos, "--json").stdout)["bad"]) == 30


def test_names_of_classes_do_not_steer_the_terminal(photos: Path) -> None:
    for split in ("train", "val"):
        (photos / split / "c0").rename(photos / split / "[red]\x1bx")
    assert "[red]\\x1bx" in check(photos).stdout


def cut_off_jpeg() -> bytes:
    """A JPEG whose second half is missing, but for its end, so that decoders make it up."""
    data = io.BytesIO()
    Image.effect_noise((10, 8), 80).save(data, "JPEG", quality=100)
    return data.getvalue()[:-60] + b"\xff\xd9"


@pytest.mark.parametrize(
    ("make", "sign"),
    [
        (lambda path: Image.new("RGB", (10, 8), (9, 9, 9)).save(path), "all of one colour"),
        (lambda path: Image.effect_noise((600, 8), 80).save(path), "far longer and thinner than the others"),
        (lambda path: Image.effect_noise((1, 1), 80).save(path), "tiny beside the others"),
        (lambda path: path.write_bytes(cut_off_jpeg()), "a part of it is made up"),
    ],
    ids=["plain", "thin", "tiny", "cut off"],
)
def test_a_file_that_is_hardly_a_picture_is_suspicious(photos: Path, make: Callable[[Path], object], sign: str) -> None:
    make(photos / "train/c0/odd.png")
    result = check(photos)
    assert sign in result.stdout
    assert f"such as {photos}/train/c0/odd.png" in result.stdout
    assert result.exit_code == 0


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    for seed in range(12):
        path = tmp_path / ("train" if seed < 8 else "val") / f"c{seed % 2}" / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.resize((40, 30)),
        lambda image: image.resize((160, 120)),
        lambda image: image.crop((1, 1, 79, 59)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: ImageEnhance.Contrast(image).enhance(0.8),
        lambda image: ImageOps.mirror(image),
    ],
    ids=["saved anew", "smaller", "larger", "cropped", "darker", "flatter", "mirrored"],
)
def test_nearly_the_same_image_in_training_and_validation_is_named_with_its_source(
    scenes: Path, change: Callable[[Image.Image], Image.Image]
) -> None:
    change(picture(3)).save(scenes / "val/c1/again.jpg", quality=70)
    result = check(scenes, "--strict")
    pair = f"{scenes}/val/c1/again.jpg and {scenes}/train/c1/3.png"
    assert f"error: 1 validation image is nearly the same as a training image, such as {pair}" in result.stdout
    assert result.exit_code == 2


def test_nearly_the_same_image_in_two_classes_is_a_warning(scenes: Path) -> None:
    picture(2).save(scenes / "train/c1/again.jpg")
    result = check(scenes)
    assert "warning: 1 image is nearly the same as one with another label" in result.stdout
    assert result.exit_code == 0


def test_nearly_the_same_image_in_one_class_is_worth_a_line_only(scenes: Path) -> None:
    picture(2).save(scenes / "train/c0/again.jpg")
    result = check(scenes, "--strict")
    assert "1 image is nearly the same as another of the same class and split" in result.stdout
    assert result.exit_code == 0


def test_a_mirror_image_with_another_label_is_nothing_to_tell(scenes: Path) -> None:
    """Labels may be about sides."""
    ImageOps.mirror(picture(2)).save(scenes / "val/c1/again.jpg")
    assert "nearly" not in check(scenes).stdout


def test_different_pictures_are_not_nearly_the_same(scenes: Path) -> None:
    assert "nearly" not in check(scenes).stdout


def test_strips_are_not_suspicious_among_their_like(tmp_path: Path) -> None:
    assert "warning" not in check(write_noise(tmp_path, 6, size=(300, 8))).stdout


def test_masks_are_judged_as_in_training(tmp_path: Path) -> None:
    root = write_folders(tmp_path, "train/a", "val/1", classes="sky\nroad\n")
    refused, allowed = check(root), check(root, "data.masks.unseen_classes=allow")
    assert "error: 1 of 2 classes have no pixel in the training masks: `road`" in refused.stdout
    assert "warning: 1 of 2 classes have no pixel in the training masks: `road`" in allowed.stdout
    assert (refused.exit_code, allowed.exit_code) == (2, 0)


def test_json_has_all_of_it(photos: Path) -> None:
    (photos / "train/c0/0000.png").write_bytes(b"")
    found = json.loads(check(photos, "--json").stdout)
    assert found["samples"] == {"train": 6, "val": 2}
    assert found["sizes"]["train"] == [[8, 10], [8, 10]]
    assert [file["reason"] for file in found["bad"]] == ["it is empty"]
