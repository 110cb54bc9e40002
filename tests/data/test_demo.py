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
from convsmith.data.demo import write_digits
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.image_data import ImageData
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from tests.data.folders import path_of


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    root = tmp_path_factory.mktemp("demo") / "deep" / "digits"
    write_digits(root)
    return open_image_folder(root, Share(0.5))


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.png")}


def test_digits_are_an_image_folder_of_ten_classes(digits: ImageData) -> None:
    assert digits.classes == tuple("0123456789")
    assert digits.notes == ()


def test_every_digit_is_there_once_unchanged(digits: ImageData) -> None:
    original = load_digits()
    seen = set()
    for index in (digits.train, digits.val):
        for i in range(len(index)):
            number = int(path_of(index, i).stem)
            pixels = np.asarray(Image.open(path_of(index, i)), dtype=float)
            assert np.array_equal(np.rint(pixels / (255 / 16)), original.images[number])
            assert index.target(i) == original.target[number]
            seen.add(number)
    assert seen == set(range(1797))


def test_a_fifth_of_each_class_is_for_validation(digits: ImageData) -> None:
    sizes = [np.bincount(index.targets) for index in (digits.train, digits.val)]
    assert sizes[1].tolist() == [round(0.2 * n) for n in sizes[0] + sizes[1]]


def test_the_counts_are_returned(tmp_path: Path) -> None:
    assert write_digits(tmp_path) == {"train": 1438, "val": 359}


def test_writing_twice_gives_the_same_files(digits: ImageData, tmp_path: Path) -> None:
    write_digits(tmp_path)
    before = content(tmp_path)
    write_digits(tmp_path)
    assert content(tmp_path) == before == content(digits.root)


def test_a_part_of_the_digits_is_completed(digits: ImageData, tmp_path: Path) -> None:
    write_digits(tmp_path)
    for path in sorted(tmp_path.rglob("*.png"))[::2]:
        path.unlink()
    write_digits(tmp_path)
    assert content(tmp_path) == content(digits.root)


@pytest.mark.parametrize("name", ["mine.txt", "train/0/9999.png", "train/0/0000.png/x"])
def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConvsmithError, match="something else"):
        write_digits(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_a_changed_digit_is_not_overwritten(tmp_path: Path) -> None:
    write_digits(tmp_path)
    changed = next(tmp_path.rglob("*.png"))
    Image.new("L", (8, 8), 17).save(changed)
    with pytest.raises(ConvsmithError, match="something else"):
        write_digits(tmp_path)


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConvsmithError, match="cannot write to"):
        write_digits(tmp_path / "file")


# The command


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.add_typer(data.app, name="data")
    return app


def test_command_writes_the_digits(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "demo", "digits", str(tmp_path / "out")])
    assert result.output == f"{tmp_path / 'out'}: 1438 training and 359 validation images in 10 classes\n"
    assert len(content(tmp_path / "out")) == 1797


def test_command_prints_json(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "demo", "digits", str(tmp_path / "out"), "--json"])
    assert json.loads(result.output) == {"path": str(tmp_path / "out"), "train": 1438, "val": 359}


def test_command_help_has_an_example(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["data", "demo", "digits", "--help"])
    assert "Example: convsmith data demo digits" in result.output
