"""How models were trained: recipes key by key, the curves of runs, and the seeds of one recipe. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from convsmith.bundle.format import holds_run
from convsmith.training.records import read_records
from convsmith.training.run import flat

_WORDS = ("description", "source")
_CURVES = ("train", "val")


@dataclass(frozen=True)
class Seeds:
    """Models of one recipe that differ in nothing but the seed.

    Attributes:
        models: their places among those that are compared.
        seeds: of each.
        means: of each figure by name.
        errors: the standard error of each mean, of other seeds.
    """

    models: tuple[int, ...]
    seeds: tuple[Any, ...]
    means: Mapping[str, float]
    errors: Mapping[str, float]


def recipe_differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The values of both recipes for each key in which they differ, keys joined by dots; None: without that key."""
    before, after = flat(dict(first)), flat(dict(other))
    keys = (key for key in {**before, **after} if key not in _WORDS)
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def curves_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of the epochs of a run, `train` and `val`, as in its metrics.jsonl; empty for a bundle alone."""
    lines = read_records(path / "metrics.jsonl") if holds_run(path) else []
    found = {split: [line for line in lines if line["split"] == split] for split in _CURVES}
    return {split: of_split for split, of_split in found.items() if of_split}


def same_but_for_seed(
    recipes: Sequence[Mapping[str, Any]], figures: Sequence[Mapping[str, float | None]]
) -> list[Seeds]:
    """The recipes of which there are several models with different seeds, with the means of their figures."""
    groups: dict[str, list[int]] = {}
    for number, recipe in enumerate(recipes):
        if "seed" in recipe:
            words = {key: value for key, value in recipe.items() if key not in ("seed", *_WORDS)}
            groups.setdefault(json.dumps(words, sort_keys=True, default=str), []).append(number)
    found = []
    for numbers in groups.values():
        seeds = tuple(recipes[number]["seed"] for number in numbers)
        if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):  # the same seed twice is one training
            continue
        columns = {name: [figures[number].get(name) for number in numbers] for name in figures[numbers[0]]}
        known = {name: [it for it in values if it is not None] for name, values in columns.items()}
        known = {name: values for name, values in known.items() if len(values) == len(numbers)}
        means = {name: fmean(values) for name, values in known.items()}
        errors = {name: stdev(values) / sqrt(len(values)) for name, values in known.items()}
        found.append(Seeds(tuple(numbers), seeds, means, errors))
    return found
