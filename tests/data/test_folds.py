"""Folds of every source: each image is held out once, and what cannot be meant is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from convsmith.data.dataset import Samples
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from tests.data.every_source import COUNT, EVERY, Place, make, opened
from tests.data.folders import write_files

FOLDS = 3


@pytest.fixture(scope="module", params=EVERY, ids="-".join)
def task_and_place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Place]]:
    source, task = request.param
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVSMITH_CACHE", str(root / "cache"))
        yield task, make(root, source, task)


def images(samples: Samples) -> Counter[bytes]:
    return Counter(np.asarray(samples.read(i)[0]).tobytes() for i in range(len(samples)))


def test_each_image_is_held_out_in_one_fold(task_and_place: tuple[str, Place]) -> None:
    task, place = task_and_place
    data = [opened(place, task, f"data.folds={FOLDS}", f"data.fold={fold}") for fold in range(FOLDS)]
    held_out = sum((images(it.val) for it in data), Counter[bytes]())
    assert set(held_out.values()) == {1}
    assert len(held_out) >= COUNT - (task == "multilabel") * FOLDS  # the last image of a label is trained on
    for it in data:
        assert not images(it.train) & images(it.val)
        assert len(it.train) + len(it.val) == COUNT
        assert it.classes == ("ant", "bee", "cat")


def test_the_folds_of_classes_have_an_equal_share_of_each(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{label}/{i}.png" for label, many in (("a", 2), ("b", 7), ("c", 6)) for i in range(many)])
    counts = [
        np.bincount(opened(tmp_path, "classification", "data.folds=5", f"data.fold={fold}").val.targets, minlength=3)
        for fold in range(5)
    ]
    assert [count.sum() for count in counts] == [3] * 5
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_the_only_image_of_a_class_is_trained_on_in_every_fold(tmp_path: Path) -> None:
    write_files(tmp_path, "a/1.png", *[f"b/{i}.png" for i in range(8)])
    for fold in range(3):
        train = opened(tmp_path, "classification", "data.folds=3", f"data.fold={fold}").train
        assert 0 in train.targets


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.fold=1"], "set data.folds"),
        (["data.fold=3", "data.folds=3"], "fold is 3, but the 3 folds are numbered 0 to 2"),
        (["data.fold=-1", "data.folds=3"], "data.fold"),
        (["data.folds=1"], "data.folds"),
        (["data.folds=3", "data.fold=1", "eval=false"], "`eval` is false"),
        (["data.folds=3", "data.fold=1", "data.val_fraction=0.2"], "data.folds says what is held out"),
    ],
)
def test_keys_that_do_not_agree_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        load_recipe("digits", overrides)


def test_folds_without_a_fold_are_refused_before_the_first_step(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{label}/{i}.png" for label in "ab" for i in range(3)])
    with pytest.raises(ConvsmithError, match=r"data\.folds is 3, but no fold is named"):
        opened(tmp_path, "classification", "data.folds=3")


def test_a_fold_beside_images_for_validation_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{part}/{label}/{i}.png" for part in ("train", "val") for label in "ab" for i in range(3)])
    with pytest.raises(ConvsmithError, match="the data have images for validation of their own"):
        opened(tmp_path, "classification", "data.folds=3", "data.fold=0")


def test_a_fold_without_images_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{label}/{i}.png" for label in "ab" for i in range(2)])
    with pytest.raises(ConvsmithError, match="no images left for validation"):
        opened(tmp_path, "classification", "data.folds=9", "data.fold=8")
