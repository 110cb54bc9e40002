"""A second phase: other images, another learning rate, epochs of another length; and going on within it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.open_data import data_of_recipe
from convsmith.recipe.schema import Recipe
from convsmith.training.observers.base import Observer
from convsmith.training.train import TrainingInterrupted
from tests.data.folders import path_of
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.scenes import scenes_recipe, write_scenes
from tests.training.test_interrupted import assert_same_run

BATCH = 4
FIRST = 2 * 3  # steps of the first phase: two epochs of 12 images
TOTAL = FIRST + 3 * 2  # and three of 6, the last batch of each filled up


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny_segmenter(monkeypatch)
    monkeypatch.setattr("convsmith.deploy.bundle.make_bundle", lambda *args, **kwargs: None)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes")


def two_phases(folder: Path) -> Recipe:
    return scenes_recipe(
        folder,
        "schedule={epochs: 2, warmup_epochs: 1, extra: {epochs: 3, lr: 0.02}}",
        "data.masks.extra=extra.lst",
        "freeze={names: ['conv1.*', 'bn1.*'], epochs: 3}",
        "checkpoint.every_steps=1",
        "eval_every=2",
    )


@pytest.fixture(scope="module")
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cs.Run]:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        name_tiny_segmenter(monkeypatch)
        monkeypatch.setattr("convsmith.deploy.bundle.make_bundle", lambda *args, **kwargs: None)
        yield cs.train(two_phases(folder), scenes, folder / "run")


def test_the_plan_has_the_steps_of_both_phases(whole: cs.Run) -> None:
    assert whole.plan["total_steps"] == TOTAL
    assert whole.plan["extra"] == {"num_samples": 6, "steps_per_epoch": 2, "first_epoch": 2}


def test_epochs_of_the_second_phase_are_as_long_as_its_list(whole: cs.Run) -> None:
    lines = [(line["epoch"], line["step"]) for line in whole.metrics if line["split"] == "train"]
    assert lines == [(1, 3), (2, 6), (3, 8), (4, 10), (5, 12)]


def test_validations_are_counted_through_both_phases(whole: cs.Run) -> None:
    assert [line["epoch"] for line in whole.metrics if line["split"] == "val"] == [2, 4, 5]


def test_the_second_phase_has_a_learning_rate_of_its_own(whole: cs.Run) -> None:
    rates = whole.plan["lr"]
    assert max(rates[:FIRST]) == 0.1
    assert max(rates[FIRST:]) == rates[FIRST] == 0.02
    assert rates[FIRST:] == sorted(rates[FIRST:], reverse=True)


def test_the_second_phase_learns_from_its_own_list(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, Path]] = []
    reader_of = MaskData.training_reader

    def noted(self: MaskData, split: str, *arguments: object) -> object:
        reader = reader_of(self, split, *arguments)  # type: ignore[arg-type]

        def read_and_note(i: int) -> object:
            read.append((split, path_of(self.part(split), i)))  # type: ignore[arg-type]
            return reader(i)

        return read_and_note

    monkeypatch.setattr(MaskData, "training_reader", noted)
    recipe = two_phases(tmp_path)
    cs.train(recipe, scenes, tmp_path / "run")
    data = data_of_recipe(recipe, scenes)
    assert isinstance(data, MaskData)
    assert data.extra is not None
    assert [split for split, _ in read] == ["train"] * BATCH * FIRST + ["extra"] * BATCH * (TOTAL - FIRST)
    for split, pairs in (("train", data.train), ("extra", data.extra)):
        assert {path for name, path in read if name == split} == {path_of(pairs, i) for i in range(len(pairs))}


def test_without_a_list_the_second_phase_learns_from_the_training_part(scenes: Path, tmp_path: Path) -> None:
    recipe = scenes_recipe(tmp_path, "schedule={epochs: 1, extra: {epochs: 1, lr: 0.02}}")
    run = cs.train(recipe, scenes, tmp_path / "run")
    assert [line["step"] for line in run.metrics if line["split"] == "train"] == [3, 6]


def test_a_list_without_a_second_phase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"data\.masks\.extra` does nothing: schedule\.extra is null"):
        scenes_recipe(tmp_path, "schedule.epochs=1", "data.masks.extra=extra.lst")


class Killed(Exception):
    """Nothing is saved when it passes."""


class Killer(Observer):
    def __init__(self, step: int) -> None:
        self.images = step * BATCH

    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "train" and done == self.images:
            raise Killed


class Stopper(Killer):
    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "train" and done == self.images:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_killed_in_both_phases_goes_on_bit_for_bit(whole: cs.Run, scenes: Path, tmp_path: Path) -> None:
    recipe, out = two_phases(tmp_path), tmp_path / "run"
    for step in (4, FIRST, FIRST + 1, FIRST + 2, FIRST + 5):  # between the phases and inside of both
        with pytest.raises(Killed):
            cs.train(recipe, scenes, out, observers=[Killer(step)])
        newest = max((out / "checkpoints").glob("step-*"))
        assert json.loads((newest / "state.json").read_text())["step"] < step
    cs.train(recipe, scenes, out)
    assert_same_run(whole.path, out)


@pytest.mark.parametrize("step", [FIRST, FIRST + 3])
def test_a_run_stopped_by_a_signal_goes_on_bit_for_bit(whole: cs.Run, scenes: Path, tmp_path: Path, step: int) -> None:
    recipe, out = two_phases(tmp_path), tmp_path / "run"
    with pytest.raises(TrainingInterrupted, match=f"stopped by SIGTERM after step {step} of {TOTAL}"):
        cs.train(recipe, scenes, out, observers=[Stopper(step)])
    cs.train(recipe, scenes, out)
    assert_same_run(whole.path, out)


def test_loader_processes_change_nothing(whole: cs.Run, scenes: Path, tmp_path: Path) -> None:
    recipe = two_phases(tmp_path)
    other = recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": 2})})
    assert_same_run(whole.path, cs.train(other, scenes, tmp_path / "run").path)
