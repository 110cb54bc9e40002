"""The index of very many images with masks is opened again without reading folders, unless what decides it changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.data import kept_index
from convsmith.data.folders import scan
from convsmith.data.kept_index import index_beside
from convsmith.data.masks.mask_data import MaskData, make_mask_data
from convsmith.data.masks.mask_folder import find_parts, open_mask_folder
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.recipe.mask_data import Masks
from tests.data.masks import write_folders, write_pairs

SHARE = Share(0.3)
WHOLE: dict[str, Any] = {"val": None}
LISTS: dict[str, Any] = {"train": "train.lst", "val": "val.lst"}
PARTS: dict[str, Any] = {"train": "train+val", "val": "test", "extra": "train"}


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_index, "_WORTH", 5)
    parts = ("train", "train/deep", "val", "test")
    root = write_folders(tmp_path / "scenes", *(f"{part}/{i}" for part in parts for i in range(6)))
    for name, part in (("train", "train"), ("val", "val")):
        lines = (f"images/{part}/{i}.jpg masks/{part}/{i}.png" for i in range(5, 0, -1))
        (root / f"{name}.lst").write_text("\n".join(lines))
    age(root)
    return root


def age(root: Path) -> None:
    """A folder, or a list, that has just changed is not relied on."""
    for folder, _, files in os.walk(root):
        for name in ["", *(file for file in files if file.endswith(".lst"))]:
            os.utime(Path(folder, name), (1, 1))


def same(one: MaskData, other: MaskData) -> bool:
    facts = one.root, one.classes, one.notes, one.names_digest
    return facts == (other.root, other.classes, other.notes, other.names_digest)


def reads(root: Path, share: Share | None = SHARE, **keys: Any) -> bool:
    """Whether a folder is read to open it; what is found is what is found without an index."""
    masks = Masks(**keys)
    with scan.places_noted() as places:
        found = open_mask_folder(root, masks, share)
        read = len(places)
    fresh = make_mask_data(root, masks, *find_parts(root, masks, share))
    assert same(found, fresh)
    assert found.train.name(0) == fresh.train.name(0)
    return read > 0


@pytest.mark.parametrize("keys", [{}, WHOLE, LISTS, PARTS, {"mask_suffix": ".png"}], ids=str)
def test_a_second_opening_reads_no_folder(scenes: Path, keys: dict[str, Any]) -> None:
    assert reads(scenes, **keys)
    assert not reads(scenes, **keys)


def test_another_share_or_key_is_another_index(scenes: Path) -> None:
    reads(scenes, **WHOLE)
    assert reads(scenes, Share(0.1), **WHOLE)
    assert reads(scenes, None, **WHOLE)
    assert reads(scenes, **PARTS)
    assert not reads(scenes, **WHOLE)


def test_classes_are_read_each_time(scenes: Path) -> None:
    reads(scenes)
    (scenes / "classes.txt").write_text("a\nb\n")
    assert open_mask_folder(scenes, Masks(), SHARE).classes == ("a", "b")


def pair(root: Path) -> None:
    write_folders(root, "train/deep/new")


def mask_alone(root: Path) -> None:
    write_pairs(root, ("elsewhere.jpg", "masks/train/new.png"))


def image_gone(root: Path) -> None:
    (root / "images/val/1.jpg").unlink()


def line(root: Path) -> None:
    (root / "train.lst").write_text("images/train/0.jpg masks/train/0.png\n")


@pytest.mark.parametrize(
    ("change", "keys"),
    [(pair, {}), (pair, WHOLE), (line, LISTS), (mask_alone, {}), (image_gone, {}), (image_gone, LISTS)],
)
def test_a_change_is_seen(scenes: Path, change: Callable[[Path], None], keys: dict[str, Any]) -> None:
    def outcome() -> object:
        try:
            return reads(scenes, **keys), open_mask_folder(scenes, Masks(**keys), SHARE).names_digest
        except ConvsmithError as error:
            return str(error)

    reads(scenes, **keys)
    before = outcome()
    change(scenes)
    assert outcome() != before


def test_a_part_for_validation_that_comes_is_seen(scenes: Path) -> None:
    for kind in ("images", "masks"):
        (scenes / kind / "val").rename(scenes / kind / "dev")
    age(scenes)
    assert reads(scenes)
    assert not reads(scenes)
    for kind in ("images", "masks"):
        (scenes / kind / "dev").rename(scenes / kind / "valid")
    assert reads(scenes)
    assert open_mask_folder(scenes, Masks(), SHARE).val.name(0).endswith("images/valid/0.jpg")


def test_folders_that_have_just_changed_are_read_again(scenes: Path) -> None:
    os.utime(scenes / "masks/train")
    assert reads(scenes)
    assert reads(scenes)


@pytest.mark.parametrize("name", ["train_images_buffer", "val_masks_offsets", "places"])
def test_a_damaged_index_is_made_anew(scenes: Path, tmp_path: Path, name: str) -> None:
    reads(scenes)
    for path in tmp_path.glob(f"cache/index/*/{name}.npy"):
        path.write_bytes(path.read_bytes()[:-9])
    assert reads(scenes)
    assert not reads(scenes)


def test_arrays_that_do_not_go_together_are_made_anew(scenes: Path, tmp_path: Path) -> None:
    reads(scenes)
    for path in tmp_path.glob("cache/index/*/train_masks_offsets.npy"):
        np.save(path, np.load(path)[:-1])
    assert reads(scenes)


def test_a_run_keeps_the_index_of_images_and_masks(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with index_beside(tmp_path / "run/index") as keep:
        reads(scenes)
        keep()
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "another"))
    with index_beside(tmp_path / "run/index"):
        assert not reads(scenes)
