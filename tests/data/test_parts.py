"""The part of the data that judges a model: named, or the usual one; images for tests are never trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convsmith.bundle.format import read_manifest
from convsmith.cli.main import app
from convsmith.data.digest import data_digest
from convsmith.data.open_data import data_of_recipe, judged_by, open_data
from convsmith.data.parts import Part
from convsmith.data.source import find_opener
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.load import load_recipe
from tests.colours import write_colour_bundle
from tests.data.folders import write_files
from tests.data.masks import write_folders, write_pairs
from tests.data.shards import write_shards

PARTS = {"train": ("1", "2"), "val": ("3", "4"), "test": ("5",)}


def folders(root: Path, *parts: str) -> Path:
    return write_files(root, *[f"{part}/{label}/{i}.png" for part in parts for i in PARTS[part] for label in LABELS])


def table(root: Path, *parts: str) -> Path:
    rows = [(f"{label}{i}.png", label, part) for part in parts for i in PARTS[part] for label in LABELS]
    write_files(root, *[image for image, *_ in rows])
    (root / "p.csv").write_text("image,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return root / "p.csv"


def shards(root: Path, *parts: str) -> Path:
    return write_shards(
        root, {f"{part}-0.tar": [(f"{label}{i}", label) for i in PARTS[part] for label in LABELS] for part in parts}
    )


def nested_masks(root: Path, *parts: str) -> Path:
    return write_folders(root, *[f"{part}/{i}" for part in parts for i in PARTS[part]])


def flat_masks(root: Path, *parts: str) -> Path:
    pairs = [(f"{part}/images/{i}.jpg", f"{part}/masks/{i}.png") for part in parts for i in PARTS[part]]
    (root / "classes.txt").write_text("sky\nroad\ncar\n")
    return write_pairs(root, *pairs)


Make = Callable[..., Path]
PLAIN = Data(val_fraction=0.5)
TURNED = Data.model_validate({"val_fraction": 0.5, "masks": {"images": "PART/images/*", "masks": "PART/masks/*"}})
SECTIONS = {flat_masks: TURNED}
LABELS = ("cat", "dog")
SOURCES: list[Any] = [
    *[("classification", make, LABELS) for make in (folders, table, shards)],
    *[("segmentation", make, ("sky", "road", "car")) for make in (nested_masks, flat_masks)],
]
every_source = pytest.mark.parametrize(
    ("task", "make", "labels"), SOURCES, ids=[make.__name__ for _, make, _ in SOURCES]
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))


def judged(
    data: Path, task: str, labels: tuple[str, ...], part: Part | None, section: Data = PLAIN
) -> tuple[int, bool]:
    samples, is_part = find_opener(task, data).labelled(data, section, labels, part)
    return len(samples), is_part


@every_source
@pytest.mark.parametrize("part", ["train", "val", "test", None])
def test_a_model_is_judged_by_the_part_that_is_named(
    tmp_path: Path, task: str, make: Make, labels: tuple[str, ...], part: Part | None
) -> None:
    data = make(tmp_path, *PARTS)
    each = 1 if task == "segmentation" else len(labels)
    assert judged(data, task, labels, part, SECTIONS.get(make, PLAIN)) == (each * len(PARTS[part or "val"]), True)


@every_source
def test_without_validation_images_those_of_the_test_judge(
    tmp_path: Path, task: str, make: Make, labels: tuple[str, ...]
) -> None:
    data = make(tmp_path, "train", "test")
    assert judged(data, task, labels, None, SECTIONS.get(make, PLAIN)) == judged(
        data, task, labels, "test", SECTIONS.get(make, PLAIN)
    )


@every_source
def test_a_part_that_is_missing_is_refused_with_those_that_there_are(
    tmp_path: Path, task: str, make: Make, labels: tuple[str, ...]
) -> None:
    data = make(tmp_path, "train", "val")
    with pytest.raises(ConvsmithError, match="has no images of the split `test`: it has `train`, `val`"):
        judged(data, task, labels, "test", SECTIONS.get(make, PLAIN))


@every_source
def test_test_images_are_never_trained_on(tmp_path: Path, task: str, make: Make, labels: tuple[str, ...]) -> None:
    data = make(tmp_path, "train", "test")
    tested = find_opener(task, data).labelled(data, SECTIONS.get(make, PLAIN), labels, "test")[0]
    learned = open_data(task, SECTIONS.get(make, PLAIN), data)
    names = [
        {part.name(i) for part in parts for i in range(len(part))}
        for parts in ((tested,), (learned.train, learned.val))
    ]
    assert not names[0] & names[1]
    assert len(names[1]) == (2 if task == "segmentation" else 4)


def test_data_without_parts_have_no_test(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{label}/{i}.png" for label in LABELS for i in range(2)])
    with pytest.raises(ConvsmithError, match="has no images of the split `test`: it has no splits"):
        judged(tmp_path, "classification", LABELS, "test")


def test_a_class_called_test_is_not_a_part(tmp_path: Path) -> None:
    write_files(tmp_path, "test/1.png", "other/1.png")
    assert judged(tmp_path, "classification", ("other", "test"), None) == (2, False)


def colours(root: Path) -> tuple[Path, Path]:
    """A bundle, and the data that its manifest says it was trained on."""
    images = [f"{part}/{label}/{i}.png" for part in PARTS for i in "12" for label in ("red", "green")]
    data = write_files(root / "data", *images)
    recipe = load_recipe("digits", ["model.num_classes=2"])
    digest = data_digest(data_of_recipe(recipe, data))
    return write_colour_bundle(root / "b", recipe=recipe.model_dump(mode="json"), data_digest=digest), data


@pytest.mark.parametrize(("part", "held_out"), [("train", False), ("val", True), ("test", True), (None, True)])
def test_what_a_bundle_was_not_trained_on_was_held_out(tmp_path: Path, part: Part | None, held_out: bool) -> None:
    bundle, data = colours(tmp_path)
    found = judged_by(read_manifest(bundle), data, part)
    assert (found.held_out, found.is_part, len(found.samples)) == (held_out, True, 4)
    assert found.samples.name(0).removeprefix(f"{data}/").partition("/")[0] == (part or "val")


def test_the_command_judges_by_the_split_that_is_named(tmp_path: Path) -> None:
    bundle, data = colours(tmp_path)
    (data / "test/red/2.png").unlink()
    words = ["evaluate", str(bundle), "--data", str(data), "--json"]
    answers = [CliRunner().invoke(app, [*words, *more]) for more in ([], ["--split", "test"])]
    assert [json.loads(answer.stdout)["images"] for answer in answers] == [4, 3]


def test_the_command_names_the_splits_that_there_are(tmp_path: Path) -> None:
    bundle, data = colours(tmp_path)
    (data / "test").rename(data / "other")
    answer = CliRunner().invoke(app, ["evaluate", str(bundle), "--data", str(data), "--split", "test"])
    assert isinstance(answer.exception, ConvsmithError)
    assert "it has `train`, `val`" in str(answer.exception)
