"""A validation measures the figures of an evaluation that a recipe asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.bundle.task import find_task
from convsmith.recipe.task_fit import figures_of
from convsmith.recipe.tasks import list_tasks
from convsmith.tasks.classification import EvaluatedImages
from convsmith.training.run import differences
from tests.colours import bare_manifest
from tests.training.linear_trainer import trainer
from tests.training.scenes import scenes_recipe, write_scenes

USUAL = {"loss", "top1", "top5", "balanced_accuracy"}


def validated(folder: Path, *words: str) -> dict[str, float]:
    """The last record of a validation."""
    made, notes = trainer(folder, *words)
    made.fit()
    return [it.values for it in notes.records if it.split == "val"][-1]


def test_metrics_are_recorded_beside_the_usual_figures_which_stay_as_they_are(tmp_path: Path) -> None:
    usual = validated(tmp_path / "usual")
    asked = validated(tmp_path / "asked", "metrics=[f1_macro, ece]")
    assert usual.keys() == USUAL
    assert asked.keys() == USUAL | {"f1_macro", "ece"}
    assert {name: asked[name] for name in USUAL} == usual


def test_a_figure_that_is_always_measured_may_be_named(tmp_path: Path) -> None:
    assert validated(tmp_path, "metrics=[loss, top5]").keys() == USUAL


def test_a_figure_that_the_images_do_not_give_is_left_out() -> None:
    results = EvaluatedImages(["auroc", "f1_macro"])
    results.judge(lambda _: np.eye(2, dtype=np.float32)[[0]], torch.zeros(1, 3, 4, 4), torch.tensor([0]))
    assert results.compute().keys() == USUAL | {"f1_macro"}


def test_both_models_are_measured_where_both_are_judged(tmp_path: Path) -> None:
    figures = validated(tmp_path, "metrics=[brier]", "ema={decay: 0.5, judge: both}")
    assert {"brier", "ema_brier", "model_brier"} <= figures.keys()


def test_the_best_epoch_keeps_its_figures(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, "metrics=[f1_macro]")
    made.fit()
    assert made.state.best is not None
    assert "f1_macro" in made.state.best


def test_masks_are_measured_with_their_boundaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.tasks.tiny_segmenter import name_tiny_segmenter

    name_tiny_segmenter(monkeypatch)
    scenes = write_scenes(tmp_path / "scenes")
    recipe = scenes_recipe(tmp_path, "schedule.epochs=1", "metrics=[dice, boundary_iou]")
    run = cs.train(recipe, scenes, tmp_path / "run")
    record = run.metrics[-1]
    judged: Any = cs.evaluate(run.bundle, scenes, boundary=True)
    assert (record["dice"], record["boundary_iou"]) == (judged.dice, judged.boundary_iou)
    assert cs.load(run.bundle).manifest.metrics["dice"] == judged.dice


@pytest.mark.parametrize("task", list_tasks())
def test_the_figures_that_recipes_know_are_those_of_the_evaluation(task: str) -> None:
    half = find_task(task)
    evaluated = half.figures(half.new_evaluation(bare_manifest(("a", "b"))))
    assert set(figures_of(task)) == {*evaluated, "loss"}


def test_a_run_may_go_on_with_other_metrics(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path)
    recipe = made.session.recipe
    other = recipe.model_copy(update={"metrics": ("ece",)})
    assert differences(recipe.model_dump(mode="json"), other.model_dump(mode="json")) == []
