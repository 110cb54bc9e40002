from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from convsmith.cli.main import app
from tests.data.folders import write_noise
from tests.data.masks import write_folders


def check(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", "check", *map(str, words)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "photos", 6)


def test_a_good_folder_is_told_in_numbers(photos: Path) -> None:
    result = check(photos)
    assert result.stdout.splitlines() == [
        "train: 6 images, 10 x 8 to 10 x 8 pixels",
        "val:   2 images, 10 x 8 to 10 x 8 pixels",
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
