"""A plan as a table, line by line."""

from __future__ import annotations

import math
from dataclasses import replace

from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.plan import Group
from convsmith.tables import table_text

RECIPE = load_recipe(
    "digits",
    ["schedule.epochs=12", "batch.size=128", "batch.per_device=16", "schedule.warmup_epochs=2",
     "schedule.extra={epochs: 2, lr: 0.01}", "optimizer.weight_decay_end=0.1", "augment.custom=mine:sharpen"],
)  # fmt: skip
PLAN = replace(
    make_plan(RECIPE, 5000, 2, 2, 99, extra_samples=700),
    groups=(Group(1.0, 0.05, ("a",)), Group(10.0, 0.0, ("b", "c"))),
    params=1_234_567,
    gmacs=0.123456,
    memory_bytes=3 * 2**29,
)


def cosine(rate: float, step: int, steps: int) -> float:
    return rate * (1 + math.cos(math.pi * step / steps)) / 2


def test_all_that_a_plan_says_of_a_recipe() -> None:
    text = table_text(PLAN.table(RECIPE)).strip()
    rates = {123: cosine(0.05, 43, 400), 246: cosine(0.05, 166, 400), 369: cosine(0.05, 289, 400)}
    assert [line.strip() for line in text.splitlines()] == [
        "effective batch   128 = 4 devices x 16 x 2 accumulated",
        "samples           5,000, last batch of an epoch: wrap",
        "order             another in each epoch; within windows of 8,192 images where they lie in tar shards, which "
        "are shuffled too",
        "steps             492 = 12 epochs x 40 + 2 x 6",
        "learning rate     0 at step 0, first step",
        "0.05 at step 80, end of warmup",
        f"{rates[123]:.6g} at step 123, 1/4 of the run",
        f"{rates[246]:.6g} at step 246, 2/4 of the run",
        f"{rates[369]:.6g} at step 369, 3/4 of the run",
        f"{cosine(0.01, 11, 12):.6g} at step 491, last step",
        "weight decay      a cosine from 0.0005 to 0.099999",
        "group             1 tensor, weight decay 0.05, learning rate x 1",
        "group             2 tensors, weight decay 0, learning rate x 10",
        "code of yours     mine:sharpen, as augment.custom",
        "model             cifar_resnet20: 1,234,567 parameters, 0.1235 GMACs per image",
        "memory            about 1.50 GiB per device",
    ]


def test_a_plan_alone_says_less() -> None:
    bare = replace(PLAN, groups=None, params=None, weight_decay=None, extra=None, augment={})
    lines = [line.strip() for line in table_text(bare.table()).strip().splitlines()]
    assert [line.partition("  ")[0] for line in lines] == [
        "effective batch",
        "samples",
        "steps",
        "learning rate",
        *(line for line in lines if " at step " in line and not line.startswith("learning")),
    ]
    assert len(lines) == 8
    table = table_text(replace(bare, lr=()).table(groups=[[3, 0.5, 2]]))
    assert "group             3 tensors, weight decay 0.5, learning rate x 2" in table
    assert "learning rate  " not in table


def test_the_cost_needs_no_recipe() -> None:
    assert "model             1,234,567 parameters, 0.1235 GMACs" in table_text(PLAN.table())
