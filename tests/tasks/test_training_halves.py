"""Each task has a training half: a module that is found by the task's name."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from convsmith.bundle.tasks import list_tasks
from convsmith.tasks import classification, multilabel, segmentation
from convsmith.tasks.base import TaskTraining, find_training

HALVES: dict[str, TaskTraining[Any]] = {  # for mypy
    "classification": classification,
    "multilabel": multilabel,
    "segmentation": segmentation,
}
FUNCTIONS = [name for name, value in vars(TaskTraining).items() if inspect.isfunction(value) and name[0] != "_"]


@pytest.mark.parametrize("task", list_tasks())
def test_each_task_can_be_trained(task: str) -> None:
    training = find_training(task)
    assert {name for name in FUNCTIONS if not inspect.isfunction(getattr(training, name, None))} == set()


def test_the_protocol_says_what_a_training_half_has() -> None:
    assert FUNCTIONS == ["check_model", "loss_bytes", "objective", "logits", "new_results"]


def test_the_halves_are_modules_of_the_tasks_names() -> None:
    assert {task: find_training(task) for task in HALVES} == HALVES
