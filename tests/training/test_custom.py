"""Trainings with a function of one's own among the steps of augmentation."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from convsmith.jobs.distil import student_recipe
from tests.exports import write_run
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.conftest import SMALL
from tests.training.ranks import At, run_ranks, train_tiny
from tests.training.scenes import RECIPE, write_scenes
from tests.training.test_interrupted import assert_same_run
from tests.training.tiny_model import name_tiny

HERE = "tests.data.own_transforms"
WORDS = (
    *SMALL,
    "model.name=tiny",
    "schedule.epochs=2",
    "schedule.warmup_epochs=0",
    "ema.decay=0.9",
    f"augment.custom={HERE}:speckle",
)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny(monkeypatch)
    name_tiny_segmenter(monkeypatch)
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_is_the_same_bit_for_bit_with_any_workers(
    digits: Path, tmp_path: Path, workers: int
) -> None:
    whole = cs.train("digits", digits, tmp_path / "whole", overrides=WORDS)
    words = [*WORDS, f"data.workers={workers}"]
    with pytest.raises(cs.ConvsmithError, match="stopped by SIGTERM after step 4"):
        cs.train("digits", digits, tmp_path / "run", overrides=words, observers=[At(4, signal.SIGTERM)])
    run = cs.train("digits", digits, tmp_path / "run", overrides=words)
    assert_same_run(whole.path, run.path)
    assert run.recipe.augment.custom == f"{HERE}:speckle"


def test_it_changes_what_is_learned_from(digits: Path, tmp_path: Path) -> None:
    runs = [
        cs.train("digits", digits, tmp_path / name, overrides=[*WORDS, word])
        for name, word in (("with", "seed=0"), ("without", "augment.custom=null"))
    ]
    assert runs[0].metrics[0]["loss"] != runs[1].metrics[0]["loss"]


def test_masks_go_through_it(tmp_path: Path) -> None:
    (tmp_path / "scenes.yaml").write_text(RECIPE)
    scenes = write_scenes(tmp_path / "scenes")
    words = ["schedule.epochs=1", f"augment.custom={HERE}:turned"]
    assert cs.train(tmp_path / "scenes.yaml", scenes, tmp_path / "run", overrides=words).metrics[-1]["miou"] > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [("crash", "`.*:crash` failed: ZeroDivisionError"), ("missing", "has no `missing`"), ("cut", "returned uint8")],
)
def test_what_fails_fails_before_an_image_is_looked_at(digits: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=f"augment.custom: .*{message}"):
        cs.train("digits", digits, tmp_path / "run", overrides=[*WORDS, f"augment.custom={HERE}:{name}"])
    assert not (tmp_path / "run/data_check.npz").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_what_fails_on_an_image_names_it(digits: Path, tmp_path: Path, workers: int) -> None:
    data = tmp_path / "data"
    for split, label in ((split, label) for split in ("train", "val") for label in "ab"):
        (data / split / label).mkdir(parents=True)
        for number in range(4):
            dark = split == "train" and label == "b" and number == 3
            Image.fromarray(np.full((16, 16, 3), 0 if dark else 60 + number + 9 * (label == "b"), np.uint8)).save(
                data / split / label / f"{number}.png"
            )
    words = [*WORDS, f"augment.custom={HERE}:crash_on_black", f"data.workers={workers}"]
    with pytest.raises(cs.ConvsmithError, match=r"failed, on .*3\.png: ValueError: a black image"):
        cs.train("digits", data, tmp_path / "run", overrides=words)


def test_a_run_that_goes_on_with_another_source_says_so(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "own_module.py"
    file.write_text("def f(image, rng): return image")
    monkeypatch.syspath_prepend(tmp_path)
    words = [*WORDS, "augment.custom=own_module:f"]
    with pytest.raises(cs.ConvsmithError, match="stopped by SIGTERM"):
        cs.train("digits", digits, tmp_path / "run", overrides=words, observers=[At(2, signal.SIGTERM)])
    file.write_text("def f(image, rng): return image  # mended")
    with caplog.at_level(logging.WARNING), pytest.raises(cs.ConvsmithError, match="stopped by SIGTERM"):
        cs.train("digits", digits, tmp_path / "run", overrides=words, observers=[At(4, signal.SIGTERM)])
    assert "augment.custom: the source of own_module:f has changed since step 2" in caplog.text
    caplog.clear()
    cs.train("digits", digits, tmp_path / "run", overrides=words)
    assert "has changed" not in caplog.text


def test_several_processes_find_it(digits: Path, tmp_path: Path) -> None:
    words = (f"augment.custom={HERE}:speckle",)
    assert run_ranks(2, train_tiny, digits, tmp_path, words) == ["finished", "finished"]


def test_a_teachers_bundle_runs_no_code_unless_it_is_repeated(tmp_path: Path) -> None:
    name = f"{HERE}:inverted"
    write_run(tmp_path / "run", f"augment.custom={name}")
    with pytest.raises(cs.ConvsmithError, match=f"augment.custom={name}: it is code, which does not run"):
        student_recipe(tmp_path / "run", "resnet18")
    for said in (name, "null"):
        recipe = student_recipe(tmp_path / "run", "resnet18", [f"augment.custom={said}"])
        assert recipe.augment.custom == (name if said == name else None)
