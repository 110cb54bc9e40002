"""Images of tables and shards that nothing is known of, for whoever only predicts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convsmith.bundle.preprocess import ImageSource
from convsmith.data.folders.image_paths import named_images
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.data.every_source import COUNT, SOURCES, pixels
from tests.data.folders import png, write_files
from tests.data.shards import tar


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))


def read(source: ImageSource) -> Any:
    assert callable(source)
    return source()


def names(place: Path, section: Data | None = None) -> list[str]:
    return [Path(name).name for name, _ in named_images(place, section)]


def refusal(place: Path) -> str:
    with pytest.raises(ConvsmithError) as caught:
        list(named_images(place))
    return str(caught.value)


@pytest.mark.parametrize("source", ["jsonl", "parquet", "shards", "hf"])
def test_labelled_data_give_all_their_images(tmp_path: Path, source: str) -> None:
    place = SOURCES[source][0](tmp_path, "classification")
    assert isinstance(place, Path)
    found = [np.asarray(Image.open(io.BytesIO(read(image)))).tobytes() for _, image in named_images(place)]
    expected = [pixels(i).tobytes() for i in range(COUNT)]
    if source == "shards":  # which have an order of their own
        found, expected = sorted(found), sorted(expected)
    assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        "image\na.png\nb.png\n",
        "photo\na.png\nb.png\n",  # the only column
        "path,label\na.png,\nb.png,cat\n",
        "path;split\na.png;train\nb.png;nonsense\n",
        "path,weight,group\na.png,-1,\nb.png,many,x\n",
    ],
)
def test_whatever_else_a_table_says_its_images_are_taken(tmp_path: Path, text: str) -> None:
    write_files(tmp_path, "a.png", "b.png")
    (tmp_path / "new.csv").write_text(text)
    assert names(tmp_path / "new.csv") == ["a.png", "b.png"]


def test_an_image_may_be_named_twice_or_not_be_there(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png")
    (tmp_path / "new.csv").write_text("image\na.png\ngone.png\na.png\n")
    assert names(tmp_path / "new.csv") == ["a.png", "gone.png", "a.png"]


def test_images_of_a_table_are_named_by_their_paths(tmp_path: Path) -> None:
    write_files(tmp_path, "photos/a.png")
    (tmp_path / "new.csv").write_text("image\na\n")  # found in the folder beside it
    ((name, _),) = named_images(tmp_path / "new.csv")
    assert Path(name) == tmp_path / "photos/a.png"


def test_the_column_that_a_recipe_names_comes_first_where_it_is_there(tmp_path: Path) -> None:
    section = Data.model_validate({"columns": {"image": "scan"}, "root": "elsewhere"})
    (tmp_path / "with.csv").write_text("image,scan\na.png,b.png\n")
    (tmp_path / "without.csv").write_text("image\na.png\n")
    assert names(tmp_path / "with.csv", section) == ["b.png"]
    assert names(tmp_path / "without.csv", section) == ["a.png"]


@pytest.mark.parametrize("text", ["a.png\nb.png\n", "a.png,cat\nb.png,dog\n"])
def test_a_table_whose_first_line_is_an_image_is_not_read_without_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "new.csv").write_text(text)
    assert "has no column `image`" in refusal(tmp_path / "new.csv")


@pytest.mark.parametrize(("text", "expected"), [("image\n", "has no rows"), ("image,label\n,cat\n", "line 2 of")])
def test_a_table_without_an_image_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "new.csv").write_text(text)
    assert expected in refusal(tmp_path / "new.csv")


def shards(folder: Path, keys: Sequence[str] = ("a", "b")) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(2):
        members = {f"{key}{number}.png": png((number, 1, 2)) for key in keys}
        (folder / f"new-{number}.tar").write_bytes(tar(members))
    return folder


@pytest.mark.parametrize("given", ["", "new-{0..1}.tar", "new-*.tar"])
def test_shards_need_no_labels(tmp_path: Path, given: str) -> None:
    found = [name.partition(": ")[2] for name, _ in named_images(shards(tmp_path / "data") / given)]
    assert found == ["a0.png", "b0.png", "a1.png", "b1.png"]


def test_a_folder_with_image_files_is_a_folder_whatever_lies_beside_them(tmp_path: Path) -> None:
    write_files(shards(tmp_path / "data"), "c.png")
    assert names(tmp_path / "data") == ["c.png"]
