"""Which sections of a recipe go with which task. What depends on the task says a file of `convsmith.recipe.tasks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from convsmith.complaints import either
from convsmith.recipe.better import LOSS
from convsmith.recipe.objective import CrossEntropy, LabelLoss
from convsmith.recipe.sections import Sections
from convsmith.recipe.tasks import list_tasks


@dataclass(frozen=True)
class Remedy:
    """Changes of a recipe that suit some data better.

    Attributes:
        words: what they are for.
        changes: as `key=value` words.
        recipes: packaged recipes that have them, by those that they extend.
    """

    words: str = ""
    changes: tuple[str, ...] = ()
    recipes: Mapping[str, str] = field(default_factory=dict)


class TaskRules(Protocol):
    """The rules that a file of `convsmith.recipe.tasks`, of the task's name, says for its recipes."""

    METRICS: tuple[str, ...]
    """Fractions that may judge a model, the usual one first; the loss may judge each task too."""

    FIGURES: tuple[str, ...]
    """Further figures of an evaluation, which a validation may measure too."""

    LOSS: str
    """The usual name of the loss."""

    RECIPES: Mapping[str, str]
    """Packaged recipes of the task by those of one class for each image that they extend."""

    UNEVEN: Remedy
    """Changes that help where some classes have many more images than others."""

    def check(self, recipe: Sections) -> None:
        """Raise a ValueError if a section does nothing for the task, or cannot be had with it."""


class Misfit(ValueError):
    """Names the `keys` that do not go together, where the words of its text may mean something else."""

    def __init__(self, text: str, *keys: str) -> None:
        super().__init__(text)
        self.keys = keys


def rules_of(task: str) -> TaskRules:
    """The rules for recipes of a task, one of `list_tasks()`."""
    found: Any = import_module(f"convsmith.recipe.tasks.{task}")
    rules: TaskRules = found
    return rules


def list_metrics() -> list[str]:
    """The figures that may judge a model of any task."""
    return [metric for task in list_tasks() for metric in rules_of(task).METRICS] + [LOSS]


def figures_of(task: str) -> tuple[str, ...]:
    """The figures that a validation of the task may measure."""
    rules = rules_of(task)
    return (*rules.METRICS, *rules.FIGURES, LOSS)


def list_figures() -> list[str]:
    """The figures that a validation of any task may measure."""
    return list(dict.fromkeys(name for task in list_tasks() for name in figures_of(task)))


def check_task(recipe: Sections) -> None:
    """ValueError if a section does nothing for the recipe's task, or cannot be had with it."""
    rules = rules_of(recipe.task)
    rules.check(recipe)
    if recipe.metric not in (*rules.METRICS, LOSS):
        raise Misfit(
            f"{recipe.task} (task) is judged by metric {either((*rules.METRICS, LOSS))}, not by `{recipe.metric}`",
            "metric", "task",
        )  # fmt: skip
    for name in recipe.metrics:
        if name not in figures_of(recipe.task):
            raise Misfit(
                f"a validation of {recipe.task} (task) measures {either(figures_of(recipe.task))}, not `{name}`",
                "metrics", "task",
            )  # fmt: skip


def check_images(recipe: Sections) -> None:
    """ValueError if a section is of pixels, where the task is of whole images."""
    task, loss = recipe.task, recipe.loss
    if recipe.preprocess.method == "whole":
        raise ValueError(f"preprocess.method `whole` is for segmentation, but task is {task}")
    if not isinstance(loss, CrossEntropy | LabelLoss):
        raise ValueError(f"loss.name `{loss.name}` is of pixels, but task is {task}")
    for key in ("output_weights", "align_corners"):
        if getattr(loss, key, None) is not None:
            raise ValueError(f"loss.{key} is for segmentation, but task is {task}: put null on it")
    if recipe.data.masks is not None:
        raise ValueError(f"data.masks is for segmentation, but task is {task}")
    if recipe.augment.mask_downsample_rate != 1:
        raise ValueError(f"augment.mask_downsample_rate is for segmentation, but task is {task}")


def check_one_class(recipe: Sections) -> None:
    """ValueError if a section is of several labels, where classes exclude each other."""
    if getattr(recipe.loss, "positive_weights", None) is not None:
        raise ValueError(f"loss.positive_weights is for several labels, but task is {recipe.task}: put null on it")
