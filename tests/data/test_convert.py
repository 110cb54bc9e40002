"""Images and masks of any source as two folders: what goes in comes out, the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from convsmith.cli.main import app
from convsmith.data.open_data import open_data
from convsmith.data.shards.pack import pack
from convsmith.recipe.data import Data
from tests.data.folders import png, write_noise
from tests.data.polygons import LEFT, SQUARE, coco, mask, opened, write_coco, write_images
from tests.data.test_pack import contents, write_masks


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))


def convert(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", "convert", *map(str, words)])


def converted(*words: object) -> None:
    result = convert(*words)
    assert result.exit_code == 0, result.output


def outlined(root: Path) -> Path:
    names = ("1.jpg", "2.jpg")
    annotations: list[dict[str, Any]] = [
        {"segmentation": [SQUARE]},
        {"segmentation": [LEFT], "image_id": 2, "category_id": 7},
    ]
    for part in ("train", "val"):
        folder = write_images(root / part, *(f"{part}{name}" for name in names))
        write_coco(folder / "a.json", coco(annotations, [f"{part}{name}" for name in names]))
    return root


def table(root: Path) -> Path:
    write_masks(root)
    rows = [f"images/{name}.jpg,masks/{name}.png,{name[: name.index('/')]}" for name in ("train/a", "train/b", "val/c")]
    (root / "scenes.csv").write_text("\n".join(["image,mask,split", *rows]))
    return root / "scenes.csv"


def shards(root: Path) -> Path:
    pack(open_data("segmentation", Data(), write_masks(root)), root / "shards", 10**6)
    return root / "shards"


SOURCES: dict[str, Callable[[Path], Path]] = {"coco": outlined, "folder": write_masks, "table": table, "shards": shards}


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_comes_out_as_it_went_in(tmp_path: Path, kind: str) -> None:
    data = SOURCES[kind](tmp_path / "data")
    converted(data, tmp_path / "out")
    before, after = (open_data("segmentation", Data(), it, hold_out=False) for it in (data, tmp_path / "out"))
    assert after.classes == before.classes
    assert contents(after.train) == contents(before.train)
    assert contents(after.val) == contents(before.val)
    assert len(after.val)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_same_data_give_the_same_bytes_wherever_they_lie(tmp_path: Path, kind: str) -> None:
    for place in ("here", "there"):
        converted(SOURCES[kind](tmp_path / place), tmp_path / f"{place}-out")
    assert files(tmp_path / "here-out") == files(tmp_path / "there-out")


def test_files_are_called_as_their_images(tmp_path: Path) -> None:
    converted(outlined(tmp_path / "data"), tmp_path / "out")
    names = [f"{split}/{split}{number}" for split in ("train", "val") for number in (1, 2)]
    images, masks = ({f"{kind}/{name}.{end}" for name in names} for kind, end in (("images", "png"), ("masks", "png")))
    assert set(files(tmp_path / "out")) == {"classes.txt", *images, *masks}


def test_images_of_one_name_in_several_folders_keep_apart(tmp_path: Path) -> None:
    names = ("a/1.png", "b/1.png", "c/1.PNG")
    data = write_coco(write_images(tmp_path / "data", *names) / "a.json", coco([{"segmentation": [SQUARE]}], names))
    converted(data, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out/images/train").iterdir()) == [
        "1-00000001.png",
        "1-00000002.png",
        "1.png",
    ]
    assert sum(int(mask(opened(tmp_path / "out"), i).any()) for i in range(3)) == 1


def test_pixels_that_do_not_count_stay_so(tmp_path: Path) -> None:
    crowd = {"segmentation": {"size": [4, 6], "counts": [0, 24]}, "iscrowd": 1}
    data = write_coco(write_images(tmp_path / "data", "1.jpg") / "a.json", coco([{"segmentation": [SQUARE]}, crowd]))
    converted(data, tmp_path / "out")
    assert np.unique(mask(opened(tmp_path / "out"))).tolist() == [1, 255]


def test_images_without_masks_are_refused(tmp_path: Path) -> None:
    result = convert(write_noise(tmp_path / "data", 4), tmp_path / "out")
    assert result.exit_code == 2 or "only images with masks are converted" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("")
    result = convert(outlined(tmp_path / "data"), tmp_path / "out")
    assert "is not empty" in f"{result.output}{result.exception}"


def test_an_image_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    data = outlined(tmp_path / "data")
    (data / "val/val2.jpg").write_bytes(png()[:40])
    result = convert(data, tmp_path / "out")
    assert "val2.jpg" in f"{result.output}{result.exception}"
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("cache", "data")] == []


def test_numbers_are_told_as_json(tmp_path: Path) -> None:
    result = convert(outlined(tmp_path / "data"), tmp_path / "out", "--json")
    assert json.loads(result.stdout) == {
        "path": str(tmp_path / "out"),
        "classes": ["background", "cat", "dog"],
        "train": 2,
        "val": 2,
    }
