"""Costs of training a model, with `costs.json`, which holds those of the packaged recipes. Needs no torch.

`python -m convsmith.training.measure_costs` writes the file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.resources import files
from typing import NamedTuple

from convsmith import machine
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe

# What the framework, the loader and fragmentation need besides; no more than this share is planned for.
MEMORY_SHARE = 0.8

_NOT_OF_THE_MODEL = {"description", "source", "seed", "data", "batch", "schedule", "precision"}


class Cost(NamedTuple):
    """Costs of training a recipe's model, in one arithmetic."""

    params: int
    """Trainable parameters."""
    gmacs: float
    """1e9 multiply-adds of one image's forward pass."""
    fixed_bytes: int
    """Memory, whatever the batch."""
    sample_bytes: int
    """Memory of each image of a forward pass besides."""
    groups: list[list[float]]
    """Number of tensors, weight decay and scale of the learning rate of each parameter group."""


def plan_within(
    memory: float,
    cost: Cost,
    recipe: Recipe,
    num_samples: int,
    *,
    nodes: int,
    devices: int,
    extra_samples: int | None,
) -> Plan:
    """The plan of a recipe, its `groups` left out, whose largest per-device batch fits so many bytes of one device.

    Raises:
        ConvsmithError: see `make_plan`.
    """
    fit = max(1, int((MEMORY_SHARE * memory - cost.fixed_bytes) / cost.sample_bytes))
    solved = make_plan(recipe, num_samples, nodes, devices, fit, extra_samples=extra_samples)
    bytes_in_all = cost.fixed_bytes + cost.sample_bytes * solved.per_device_batch
    return replace(solved, params=cost.params, gmacs=cost.gmacs, memory_bytes=bytes_in_all)


def known_cost(recipe: Recipe) -> Cost | None:
    """The measured costs of a packaged recipe on the CPU; None if a GPU may be here, or the model is another one."""
    bfloat16 = machine.computes_bfloat16()
    if machine.may_have_gpu() or bfloat16 is None or recipe.left_to_weights:  # which may say how large images are
        return None
    precision = recipe.precision if recipe.precision != "auto" else "bf16" if bfloat16 else "fp32"
    return read_costs().get(cost_key(recipe, precision))


def read_costs() -> dict[str, Cost]:
    """All that was measured, by `cost_key`."""
    text = files("convsmith.recipe").joinpath("costs.json").read_text(encoding="utf-8")
    return {key: Cost(*cost) for key, cost in json.loads(text).items()}


def cost_key(recipe: Recipe, precision: str) -> str:
    """The model's name, the arithmetic, and a digest of all that a recipe says which may change the cost."""
    said = recipe.model_dump_json(exclude=_NOT_OF_THE_MODEL, exclude_defaults=True)  # a new key changes no digest
    return f"{recipe.model.name} {precision} {hashlib.sha256(said.encode()).hexdigest()[:16]}"
