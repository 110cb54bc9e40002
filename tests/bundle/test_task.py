"""Tasks of trained models: found by their files, and each with all that others ask of it."""

from __future__ import annotations

import copy
import pickle
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.bundle.task import find_task, judging_metric
from convsmith.bundle.tasks import list_tasks
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from tests.colours import bare_manifest

RECIPES = {"classification": "digits", "multilabel": "resnet18-multilabel", "segmentation": "digit-scenes"}
SAID: dict[str, tuple[Any, Any]] = {
    "classification": (np.array([0.0, 1, 0]), 1),
    "multilabel": (np.array([0.0, 1, 0]), np.array([0, 1, 1], np.uint8)),
    "segmentation": (np.ones((2, 2), np.uint8),) * 2,
}


def test_a_recipe_can_name_each_task_and_no_other() -> None:
    assert sorted(get_args(Recipe.model_fields["task"].annotation)) == list_tasks()


@pytest.mark.parametrize("name", list_tasks())
def test_a_recipe_may_be_judged_by_each_metric_of_its_task_and_by_no_other_fraction(name: str) -> None:
    fractions = {metric for task in map(find_task, list_tasks()) for metric in task.metrics}
    taken = set()
    for metric in fractions:
        try:
            taken.add(load_recipe(RECIPES[name], [f"metric={metric}"]).metric)
        except (ConvsmithError, ValidationError):
            continue
    assert taken == set(find_task(name).metrics)


@pytest.mark.parametrize("name", list_tasks())
def test_the_usual_metric_of_a_recipe_is_that_of_its_task(name: str) -> None:
    assert load_recipe(RECIPES[name]).metric == judging_metric(find_task(name), {})


@pytest.mark.parametrize("name", list_tasks())
def test_the_metrics_of_a_task_are_counted_and_have_a_chance(name: str) -> None:
    task = find_task(name)
    results = task.new_results(bare_manifest(("a", "b", "c")))
    said, target = SAID[name]
    results.add([said], [target])
    assert set(task.metrics) <= set(results.compute())
    assert set(task.metrics) == set(results.chance(3))


def test_figures_are_attributes_of_an_evaluation() -> None:
    report = Evaluation(1, True, True, {"top1": 0.5}, ("a",), {"per_class": (0.5,)}, ((1,),), ())
    assert (report.top1, report.per_class) == (0.5, (0.5,))
    with pytest.raises(AttributeError, match="miou"):
        _ = report.miou


def test_an_evaluation_can_be_copied_and_pickled() -> None:
    report = Evaluation(1, True, True, {"top1": 0.5}, ("a",), {"per_class": (0.5,)}, ((1,),), ())
    assert pickle.loads(pickle.dumps(report)) == copy.copy(report) == report
