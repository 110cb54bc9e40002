"""What a recipe does, as digests: of its plan, of the images of its batches, of its steps, and of its figures."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from convsmith.data.dataset import DataSet
from convsmith.recipe.plan import Plan
from convsmith.recipe.problems import kind_key, kinds_of, sections_of
from convsmith.recipe.schema import Recipe
from convsmith.spec import Section
from convsmith.training.evaluation import evaluate
from convsmith.training.prepare import prepare_training, stepper_at_start

_NUMBERS = ("per_device_batch", "accumulation", "total_steps", "lr", "weight_decay", "groups", "params", "memory_bytes")
"""Of a plan; other keys of it are what the recipe says, whatever becomes of that."""


def keys_of(section: type[Section] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that is no section, by its path: `optimizer[sgd].momentum` where a section has kinds."""
    for name, field in section.model_fields.items():
        below = list(sections_of(field.annotation))
        kinds = kinds_of(field.annotation)
        for word, kind in kinds.items():
            if word == next(other for other in kinds if kinds[other] is kind):  # one of several words for a kind
                tag = kind_key(kinds.values())
                yield from (it for it in keys_of(kind, f"{prefix}{name}[{word}].") if not it[0].endswith(f".{tag}"))
        if not kinds and below:
            for part in below:
                yield from keys_of(part, f"{prefix}{name}.")
        elif not below:
            yield prefix + name, field


def other_values(field: FieldInfo) -> list[Any]:
    """Values that a key may have besides its default."""
    bounds = [it for it in _metadata(field) if isinstance(it, Ge | Gt | Le | Lt)]
    return [it for it in _candidates(field.annotation, field.default) if it != field.default and _within(it, bounds)]


def _metadata(field: FieldInfo) -> list[Any]:
    inside = [meta for it in typing.get_args(field.annotation) for meta in getattr(it, "__metadata__", ())]
    return [*field.metadata, *(meta for it in inside for meta in (it.metadata if isinstance(it, FieldInfo) else [it]))]


def _candidates(annotation: Any, default: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _candidates(typing.get_args(annotation)[0], default)
    if origin in (typing.Union, types.UnionType):
        return [value for it in typing.get_args(annotation) for value in _candidates(it, default)]
    if origin is Literal:
        return [*typing.get_args(annotation)]
    number = default if isinstance(default, int | float) and not isinstance(default, bool) else 1
    made: dict[Any, list[Any]] = {
        bool: [True, False],
        int: [number + 1, 3],
        float: [number * 1.5, number / 2, 0.5, 0.25, 0.02],
    }
    return made.get(annotation, [])


def _within(value: Any, bounds: list[Any]) -> bool:
    if isinstance(value, bool | str):
        return True
    tests = {Ge: "__ge__", Gt: "__gt__", Le: "__le__", Lt: "__lt__"}
    names = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
    return all(getattr(float(value), tests[type(it)])(float(getattr(it, names[type(it)]))) for it in bounds)


def effects(recipe: Recipe, data: Path, folder: Path) -> Iterator[str]:
    """Digests of one thing after another that a recipe may act on, those that cost little first."""
    recipe, dataset, plan = prepare_training(recipe, data)
    yield json.dumps({key: value for key, value in plan.to_dict().items() if key in _NUMBERS}, sort_keys=True)
    yield f"{dataset.classes} {dataset.colours} {len(dataset.train)} {len(dataset.val)}"
    yield from _steps(recipe, dataset, plan, folder)


def _steps(recipe: Recipe, dataset: DataSet, plan: Plan, folder: Path) -> Iterator[str]:
    stepper = stepper_at_start(recipe, plan, dataset, folder)
    digest = hashlib.sha256()
    for batch in stepper.parts.batches():
        digest.update(batch.images.numpy().tobytes() + batch.targets.numpy().tobytes())
    yield digest.hexdigest()
    losses = [stepper.advance().item() for _ in range(plan.total_steps)]
    yield str(losses)
    tensors = [it for part in stepper.tensors().values() for it in part.values()]
    yield hashlib.sha256(b"".join(it.detach().float().numpy().tobytes() for it in tensors)).hexdigest()
    parts = stepper.parts
    judged = stepper.ema.model if stepper.ema else parts.model
    torch.manual_seed(0)
    results = evaluate(parts, judged, parts.val)
    assert results is not None
    yield str(results.compute())
