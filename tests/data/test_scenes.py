from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from convsmith.cli import data
from convsmith.data.checks.check import check_files
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.masks.pixel_counts import count_pixels
from convsmith.data.scenes import write_digit_scenes
from convsmith.errors import ConvsmithError
from tests.data.folders import path_of
from tests.data.masks import mask_of, opened

FEW = (12, 8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> MaskData:
    root = tmp_path_factory.mktemp("demo") / "deep" / "scenes"
    write_digit_scenes(root)
    return opened(root)


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_scenes_are_a_data_set_of_eleven_classes(scenes: MaskData) -> None:
    assert scenes.classes == ("background", *"0123456789")
    assert (len(scenes.train), len(scenes.val)) == (240, 60)
    assert scenes.notes == ()
    assert check_files(scenes.train) == check_files(scenes.val) == []


def test_every_class_covers_some_of_both_parts(scenes: MaskData) -> None:
    for part in (scenes.train, scenes.val):
        counts = count_pixels(part, 11)
        assert counts.min() / counts.sum() > 0.003
        assert 0.7 < counts[0] / counts.sum() < 0.95


def test_the_masks_show_the_digits(scenes: MaskData) -> None:
    """A nearest neighbour among the real digits knows most of what the masks show."""
    digits = load_digits()
    known = []
    for i in range(60):
        mask = np.asarray(Image.open(mask_of(scenes.val, i)))
        (rows, columns), labels = np.nonzero(mask), np.unique(mask[mask > 0])
        if len(labels) == 1 and np.ptp(columns) < 40:  # one digit only
            cut = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] > 0
            small = np.asarray(Image.fromarray(np.uint8(cut) * 255).resize((6, 8), Image.Resampling.BOX)) / 16
            nearest = np.argmin(((digits.images[:, :, 1:7] - small) ** 2).sum((1, 2)))
            known.append(digits.target[nearest] == labels[0] - 1)
    assert len(known) >= 5
    assert np.mean(known) > 0.6


def test_masks_can_be_looked_at(scenes: MaskData) -> None:
    assert Image.open(mask_of(scenes.train, 0)).mode == "P"


def test_number_and_size_are_as_asked_for(tmp_path: Path) -> None:
    assert write_digit_scenes(tmp_path, 3, 2, (50, 33)) == {"train": 3, "val": 2}
    folder = opened(tmp_path)
    assert (len(folder.train), len(folder.val)) == (3, 2)
    assert Image.open(path_of(folder.val, 1)).size == (33, 50)


@pytest.mark.parametrize("size", [(16, 16), (16, 300), (700, 900)])
def test_scenes_can_be_small_long_or_larger_than_the_photographs(tmp_path: Path, size: tuple[int, int]) -> None:
    write_digit_scenes(tmp_path, 4, 4, size)
    folder = opened(tmp_path)
    assert check_files(folder.train) == []


def test_a_scene_is_the_same_whatever_the_number_of_others(scenes: MaskData, tmp_path: Path) -> None:
    write_digit_scenes(tmp_path, *FEW)
    few, all_of_them = content(tmp_path), content(scenes.root)
    assert few.items() <= all_of_them.items()


def test_training_and_validation_differ(scenes: MaskData) -> None:
    assert path_of(scenes.train, 0).read_bytes() != path_of(scenes.val, 0).read_bytes()


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    write_digit_scenes(tmp_path, *FEW)
    before = content(tmp_path)
    write_digit_scenes(tmp_path, *FEW)
    assert content(tmp_path) == before


def test_a_part_of_the_scenes_is_completed(tmp_path: Path) -> None:
    write_digit_scenes(tmp_path / "whole", *FEW)
    write_digit_scenes(tmp_path / "part", *FEW)
    for path in sorted(path for path in (tmp_path / "part").rglob("*") if path.is_file())[::3]:
        path.unlink()
    write_digit_scenes(tmp_path / "part", *FEW)
    assert content(tmp_path / "part") == content(tmp_path / "whole")


@pytest.mark.parametrize("name", ["mine.txt", "classes.txt", "images/train/0012.jpg", "masks/train/0000.png/x"])
def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConvsmithError, match="something else"):
        write_digit_scenes(tmp_path, *FEW)
    assert content(tmp_path) == {name: b"mine"}


def test_a_changed_mask_is_not_overwritten(tmp_path: Path) -> None:
    write_digit_scenes(tmp_path, *FEW)
    Image.new("L", (128, 96), 1).save(tmp_path / "masks/val/0003.png")
    with pytest.raises(ConvsmithError, match="something else"):
        write_digit_scenes(tmp_path, *FEW)


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConvsmithError, match="cannot write to"):
        write_digit_scenes(tmp_path / "file", *FEW)


# The command


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.add_typer(data.app, name="data")
    return app


def test_command_writes_the_scenes(app: typer.Typer, tmp_path: Path) -> None:
    words = [
        "data",
        "demo",
        "digit-scenes",
        str(tmp_path),
        "--train",
        "3",
        "--val",
        "2",
        "--height",
        "32",
        "--width",
        "40",
    ]
    result = CliRunner().invoke(app, words)
    assert result.output == f"{tmp_path}: 3 training and 2 validation scenes in 11 classes\n"
    assert Image.open(tmp_path / "images/val/0001.jpg").size == (40, 32)


def test_command_prints_json(app: typer.Typer, tmp_path: Path) -> None:
    words = ["data", "demo", "digit-scenes", str(tmp_path), "--train", "2", "--val", "1", "--json"]
    result = CliRunner().invoke(app, words)
    assert json.loads(result.output) == {"path": str(tmp_path), "train": 2, "val": 1}


@pytest.mark.parametrize("option", ["--train", "--height"])
def test_command_refuses_nothing_at_all(app: typer.Typer, tmp_path: Path, option: str) -> None:
    result = CliRunner().invoke(app, ["data", "demo", "digit-scenes", str(tmp_path / "out"), option, "0"])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_command_help_has_an_example(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["data", "demo", "digit-scenes", "--help"])
    assert "Example: convsmith data demo digit-scenes" in result.output
