"""Writing shards: what goes in comes out, the same bytes each time, and nothing half done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from convsmith.bundle.images.decode import size_of
from convsmith.cli.main import app
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.group_split import Groups
from convsmith.data.open_data import open_data
from convsmith.data.shards.pack import pack as write_packed
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks
from convsmith.spec import Bands
from tests.bundle.test_bands import tiff
from tests.data.folders import png, write_noise
from tests.data.masks import mask_png, write_folders
from tests.data.shards import tar, write_shards


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))


def pack(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", "pack", *map(str, words)])


def packed(*words: object) -> None:
    result = pack(*words)
    assert result.exit_code == 0, result.output


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.iterdir())}


def write_table(root: Path) -> Path:
    write_noise(root, 12)
    rows = [f"{path.relative_to(root)},{path.parent.name},{path.parent.parent.name}" for path in root.rglob("*.png")]
    (root / "photos.csv").write_text("\n".join(["image,label,split", *rows]))
    return root / "photos.csv"


def write_masks(root: Path) -> Path:
    write_folders(root, "train/a", "train/b", "val/c", classes="sky\nroad\n")
    for name in ("train/a", "train/b", "val/c"):
        (root / f"masks/{name}.png").write_bytes(mask_png(np.arange(24).reshape(4, 6).astype(np.uint8) % 2))
    return root


def write_several(root: Path) -> Path:
    write_noise(root, 12)
    labels = ["cat", "cat|dog", "", "dog|bird"]
    rows = [
        f"{path.relative_to(root)},{labels[i % 4]},{path.parent.parent.name}"
        for i, path in enumerate(sorted(root.rglob("*.png"), key=lambda path: path.name))
    ]
    (root / "photos.csv").write_text("\n".join(["image,labels,split", *rows]))
    return root / "photos.csv"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "folder": lambda root: write_noise(root, 12),
    "table": write_table,
    "shards": lambda root: write_shards(
        root, {f"{split}.tar": [(f"{i}", f"c{i % 2}") for i in range(12)] for split in ("train", "val")}
    ),
    "masks": write_masks,
    "several": write_several,
}


def contents(samples: Samples) -> set[tuple[bytes, bytes]]:
    """Pixels and target of each sample."""
    read = [samples.read(i) for i in range(len(samples))]
    return {(np.asarray(image).tobytes(), np.asarray(target).tobytes()) for image, target in read}


def opened(path: Path, kind: str) -> DataSet:
    task = {"masks": "segmentation", "several": "multilabel"}.get(kind, "classification")
    return open_data(task, Data(), path, hold_out=False)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_comes_out_as_it_went_in(tmp_path: Path, kind: str) -> None:
    data = SOURCES[kind](tmp_path / "data")
    packed(data, tmp_path / "out")
    before, after = opened(data, kind), opened(tmp_path / "out", kind)
    assert after.classes == before.classes
    assert contents(after.train) == contents(before.train)
    assert contents(after.val) == contents(before.val)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_same_data_give_the_same_bytes_wherever_they_lie(tmp_path: Path, kind: str) -> None:
    for place in ("here", "there"):
        packed(SOURCES[kind](tmp_path / place), tmp_path / f"{place}-out", "--shard-size", "20kB")
    assert files(tmp_path / "here-out") == files(tmp_path / "there-out")


def test_shards_are_as_large_as_asked_for(tmp_path: Path) -> None:
    packed(write_noise(tmp_path / "data", 30), tmp_path / "out", "--shard-size", "15kB")
    sizes = [path.stat().st_size for path in tmp_path.glob("out/train-*.tar")]
    assert len(sizes) > 3
    assert max(sizes) <= 15_000 + tarfile.RECORDSIZE


def test_images_are_copied_as_they_are_and_members_have_no_time_or_owner(tmp_path: Path) -> None:
    data = write_noise(tmp_path / "data", 4)
    packed(data, tmp_path / "out")
    with tarfile.open(tmp_path / "out/train-000000.tar") as archive:
        members = archive.getmembers()
        images = {archive.extractfile(it).read() for it in members if it.name.endswith(".png")}  # type: ignore[union-attr]
    assert images == {path.read_bytes() for path in data.glob("train/*/*.png")}
    assert {(it.mtime, it.uid, it.uname, it.mode) for it in members} == {(0, 0, "", 0o644)}


def test_larger_images_are_resized_with_their_masks_and_smaller_ones_are_not(tmp_path: Path) -> None:
    data = write_masks(tmp_path / "data")
    (data / "images/train/a.jpg").write_bytes(png(size=(60, 40)))
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 1
    (data / "masks/train/a.png").write_bytes(mask_png(mask))
    packed(data, tmp_path / "out", "--resize", "10")
    read = [opened(tmp_path / "out", "masks").train.read(i) for i in range(2)]
    large, small = sorted(read, key=lambda pair: -size_of(pair[0])[0])
    assert (size_of(large[0]), size_of(small[0])) == ((15, 10), (6, 4))
    assert large[1].tolist() == [[0] * 7 + [1] * 8] * 10


def test_a_photograph_is_resized_to_a_jpeg(tmp_path: Path) -> None:
    data = write_noise(tmp_path / "data", 2)
    Image.open(data / "train/c0/0000.png").resize((80, 60)).save(data / "train/c0/0000.jpg")
    packed(data, tmp_path / "out", "--resize", "30")
    with tarfile.open(tmp_path / "out/train-000000.tar") as archive:
        names = [name for name in archive.getnames() if name.endswith(".jpg")]
        assert len(names) == 1
        assert Image.open(archive.extractfile(names[0])).size == (40, 30)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out", "--shard-size", "many"], "--shard-size is `many`"),
        (["out", "--shard-size", "0"], "--shard-size is `0`"),
        (["full"], "full is not empty"),
        (["data/train/c0/shards"], "lies among the images of"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, words: list[str], message: str) -> None:
    write_noise(tmp_path / "data", 4)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    result = pack(tmp_path / "data", tmp_path / words[0], *words[1:])
    assert message in str(result.exception)


def test_an_image_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    data = write_noise(tmp_path / "data", 4)
    (data / "train/c0/0000.png").write_bytes(b"text")
    result = pack(data, tmp_path / "out")
    assert "0000.png: it is not an image" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_numbers_are_told_as_json(tmp_path: Path) -> None:
    result: Any = json.loads(pack(write_noise(tmp_path / "data", 4), tmp_path / "out", "--json").stdout)
    size = sum(path.stat().st_size for path in tmp_path.glob("out/*.tar"))
    counts = {"samples": {"train": 4, "val": 2}, "shards": {"train": 1, "val": 1}}
    assert result == {"path": str(tmp_path / "out"), **counts, "size": size}


def test_a_killed_pack_leaves_nothing_that_the_next_one_does_not_clear(tmp_path: Path) -> None:
    data = write_noise(tmp_path / "data", 400, size=(64, 64))
    command = [sys.executable, "-m", "convsmith.cli.main", "data", "pack", str(data), str(tmp_path / "out")]
    with subprocess.Popen(command) as process:
        while not list(tmp_path.glob(".convsmith-new.*/*.tar")) and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    packed(data, tmp_path / "out")
    packed(data, tmp_path / "other")
    assert files(tmp_path / "out") == files(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["data", "other", "out"]


def write_patients(root: Path) -> Path:
    """A table of 24 images of 6 patients, each with a weight."""
    write_noise(root, 24)
    rows = [
        f"{path.relative_to(root)},{path.parent.name},p{i % 6},{i / 8}"
        for i, path in enumerate(sorted(root.rglob("train/**/*.png"), key=lambda path: path.name))
    ]
    (root / "photos.csv").write_text("\n".join(["image,label,patient,weight", *rows]))
    return root / "photos.csv"


def of_pixels(samples: Samples) -> dict[bytes, tuple[float, str]]:
    """Weight and group of each image."""
    weights, groups = samples.weights, samples.groups
    assert weights is not None
    assert groups is not None
    return {
        np.asarray(samples.read(i)[0]).tobytes(): (weights[i], groups.names[groups.of[i]]) for i in range(len(samples))
    }


def test_weights_and_groups_come_out_as_they_went_in(tmp_path: Path) -> None:
    data = write_patients(tmp_path / "data")
    packed(data, tmp_path / "out")
    before, after = opened(data, "table"), opened(tmp_path / "out", "table")
    assert of_pixels(after.train) == of_pixels(before.train)


def test_the_same_groups_are_held_out_of_shards(tmp_path: Path) -> None:
    data = write_patients(tmp_path / "data")
    packed(data, tmp_path / "out")
    before, after = (open_data("classification", Data(val_fraction=0.3), it) for it in (data, tmp_path / "out"))
    assert contents(after.val) == contents(before.val)
    assert "whole groups" in " ".join(after.notes)
    assert not {group for _, group in of_pixels(after.val).values()} & {g for _, g in of_pixels(after.train).values()}


def test_groups_in_the_names_of_files_go_along(tmp_path: Path) -> None:
    data = write_noise(tmp_path / "data", 12) / "train"
    packed(data, tmp_path / "out", "data.pattern=(?P<group>\\d)\\.png")
    groups = opened(tmp_path / "out", "folder").train.groups
    assert groups is not None
    assert sorted(groups.names) == [str(i) for i in range(10)]


@pytest.mark.parametrize("group", ["p\udce9", " p", "p\0", "", "p" * 1025])
def test_a_group_that_shards_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path, group: str) -> None:
    data = opened(write_noise(tmp_path / "data", 2), "folder")
    data.train.images.groups = Groups(  # type: ignore[attr-defined]
        np.zeros(len(data.train), np.int64), [group]
    )
    with pytest.raises(ConvsmithError, match=r"^the group `.* of .* cannot be packed: in a shard it is text in UTF-8"):
        write_packed(data, tmp_path / "out", 10**9)
    assert not (tmp_path / "out").exists()


def test_a_group_that_lacks_where_others_have_one_is_named(tmp_path: Path) -> None:
    members = {"a.png": png((1, 2, 3)), "a.cls": b"x", "a.group": b"p", "b.png": png((3, 2, 1)), "b.cls": b"y"}
    (tmp_path / "train.tar").write_bytes(tar(members))
    with pytest.raises(ConvsmithError, match=r"train\.tar: b\.png has no group, and others have"):
        opened(tmp_path / "train.tar", "shards")


def test_a_group_in_train_and_val_is_a_note(tmp_path: Path) -> None:
    for split in ("train", "val"):
        members = {f"{i}.{kind}": it for i in "ab" for kind, it in (("png", png((1, 2, ord(i)))), ("cls", i.encode()), ("group", b"p"))}  # fmt: skip # noqa: E501
        (tmp_path / f"{split}.tar").write_bytes(tar(members))
    assert "in train and val: the groups `p`" in opened(tmp_path, "shards").notes


def bands_of(samples: Samples, bands: Bands) -> set[bytes]:
    return {np.asarray(samples.read(i, bands)[0]).tobytes() for i in range(len(samples))}


@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_images_of_other_channels_and_bits_come_out_as_they_went_in(tmp_path: Path, ending: str) -> None:
    for i in range(4):
        path = tmp_path / f"data/c{i % 2}/{i}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 4096, (4, 6, 5), dtype=np.uint16)
        np.save(path, pixels) if ending == "npy" else path.write_bytes(tiff(pixels))
    words = "data.channels=5", "preprocess.range=[0,4095]"
    packed(tmp_path / "data", tmp_path / "out", *words)
    before, after = (
        open_data("classification", Data(channels=5), it, hold_out=False)
        for it in (tmp_path / "data", tmp_path / "out")
    )
    bands = Bands(5, (0, 4095))
    assert bands_of(after.train, bands) == bands_of(before.train, bands)
    assert not any("left out" in note for note in after.notes)
    refused = pack(tmp_path / "data", tmp_path / "small", "--resize", "3", *words)
    assert "images of other channels or bits are not made smaller" in str(refused.exception)
    assert not (tmp_path / "small").exists()


def test_arrays_with_masks_come_out_as_they_went_in(tmp_path: Path) -> None:
    rows = ["image,mask"]
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).integers(0, 256, (4, 6, 2), dtype=np.uint8))
        np.save(tmp_path / f"{i}-mask.npy", np.arange(24, dtype=np.uint8).reshape(4, 6) % 3)
        rows.append(f"{i}.npy,{i}-mask.npy")
    (tmp_path / "scenes.csv").write_text("\n".join(rows))
    section = Data(channels=2, masks=Masks(classes=("a", "b", "c")))
    before = open_data("segmentation", section, tmp_path / "scenes.csv", hold_out=False)
    write_packed(before, tmp_path / "out", 10**6, bands=Bands(2))
    after = open_data("segmentation", section, tmp_path / "out", hold_out=False)
    read = [{(np.asarray(x).tobytes(), y.tobytes()) for x, y in (it.train.read(i, Bands(2)) for i in range(3))} for it in (before, after)]  # fmt: skip # noqa: E501
    assert read[0] == read[1]
