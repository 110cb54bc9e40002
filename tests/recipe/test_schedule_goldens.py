"""Learning rates of each step against numbers of the official code (tests/goldens/training/schedules.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convsmith.recipe.by_step import WeightDecays
from convsmith.recipe.optimization import (
    Cosine,
    Exponential,
    ExtraPhase,
    MultiStep,
    Poly,
    Schedule,
    Step,
)
from convsmith.recipe.schedules import learning_rate, learning_rates

GOLDENS = json.loads((Path(__file__).parents[1] / "goldens/training/schedules.json").read_text(encoding="utf-8"))


def cases(section: str) -> list[Any]:
    """The cases of a section, named by what goes in."""
    named = [(",".join(f"{value}" for value in case["in"].values()), case) for case in GOLDENS[section]["cases"]]
    return [pytest.param(case["in"], case["out"], id=name) for name, case in named]


def close(values: Any) -> Any:
    """To 12 digits."""
    return pytest.approx(values, rel=1e-11, abs=1e-15)


@pytest.mark.parametrize(("given", "out"), cases("convnext_cosine"))
def test_convnext(given: dict[str, Any], out: dict[str, Any]) -> None:
    """Where the official code asserts, since steps of warmup need epochs of it, ours warms up for these steps."""
    base, end = given["base_value"], given["final_value"]
    epochs, steps = given["epochs"], given["niter_per_ep"]
    if end >= base:  # of weight decay
        assert WeightDecays(base, end, out["length"]) == close(out["values"])
        return
    warmup: dict[str, Any] = {"warmup_epochs": given.get("warmup_epochs", 0)}
    if given.get("warmup_steps", 0) > 0:
        warmup = {"warmup_steps": given["warmup_steps"]}
    schedule = Cosine(
        epochs=epochs,
        min_lr=end,
        warmup_lr=given.get("start_warmup_value", 0.0),
        warmup_reaches_lr="at_last_step",
        **warmup,
    )
    if "raises" in out:
        rates = learning_rates(schedule, base, steps)
        assert rates[:6] == close([0, base / 4, base / 2, base * 3 / 4, base, base])
    elif "values" in out:
        assert learning_rates(schedule, base, steps) == close(out["values"])
    else:
        rates = learning_rates(schedule, base, steps)
        assert len(rates) == out["length"]
        assert sum(rates) == pytest.approx(out["sum"])
        assert {step: rates[int(step)] for step in out["at"]} == close(out["at"])


def torchvisions(given: dict[str, Any]) -> Schedule:
    shared = {
        "epochs": given["epochs"],
        "by": "epoch",
        "warmup_epochs": float(given["lr_warmup_epochs"]),
        "warmup": given["lr_warmup_method"],
        "warmup_lr": given["lr"] * given["lr_warmup_decay"],
    }
    match given["lr_scheduler"]:
        case "steplr":
            return Step(name="step", every_epochs=given["lr_step_size"], gamma=given["lr_gamma"], **shared)
        case "exponentiallr":
            return Exponential(name="exponential", gamma=given["lr_gamma"], **shared)
    return Cosine(min_lr=given["lr_min"], **shared)


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize(("given", "out"), cases("torchvision"))
def test_torchvision(given: dict[str, Any], out: dict[str, Any], steps: int) -> None:
    rates = learning_rates(torchvisions(given), given["lr"], steps)
    if "group_lrs" in given:
        of_groups = [[rate * scale / given["lr"] for scale in given["group_lrs"]] for rate in rates[::steps]]
        assert of_groups == [pytest.approx(pair, rel=1e-8) for pair in out["lr_of_epoch"]]
    else:
        expected = [rate for rate in out["lr_of_epoch"] for _ in range(steps)]
        assert rates == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("given", "out"), cases("mxnet_cosine"))
def test_mxnet(given: dict[str, Any], out: dict[str, Any]) -> None:
    """Update 1 is step 0; an epoch is as long as the schedule believes, the last short batch trained on."""
    schedule = Cosine(
        epochs=given["num_epochs"], warmup_epochs=given["warmup_epochs"], warmup_lr=given["warmup_lr"], shift=1
    )
    steps = out["epoch_size_in_the_schedule"]
    if "lr_of_update" in out:
        rates = {
            update: learning_rate(schedule, out["base_lr"], steps, int(update) - 1)
            for update in out["lr_of_update"]
            if int(update) <= out["max_update"]
        }
        expected = {update: out["lr_of_update"][update] for update in rates}
    else:
        rates = dict(enumerate(learning_rates(schedule, out["base_lr"], steps)))
        expected = dict(enumerate(out["lr_of_update_k_for_k_from_1"][: out["max_update"]]))
        rates = {step: rates[step] for step in expected}
    assert rates == close(expected)


@pytest.mark.parametrize(("given", "out"), cases("resnest_torch"))
def test_resnest_torch(given: dict[str, Any], out: dict[str, Any]) -> None:
    """Its steps are counted from the start of the run, so they are a multi_step."""
    epochs, every = given["num_epochs"], given["lr_step"]
    shared = {"epochs": epochs, "warmup_epochs": given["warmup_epochs"]}
    schedule: Schedule
    match given["mode"]:
        case "cos":
            schedule = Cosine(**shared)
        case "poly":
            schedule = Poly(name="poly", **shared)
        case _:
            schedule = MultiStep(name="multi_step", milestones=tuple(range(every, epochs, every)), **shared)
    rates = learning_rates(schedule, given["base_lr"], given["iters_per_epoch"])
    assert rates == close(out["lr_of_iteration"])


def hrnets(given: dict[str, Any]) -> tuple[Schedule, int]:
    """The schedule and its steps in an epoch: 1, since the phases of the goldens have epochs of different lengths."""
    steps = given["END_EPOCH"] * given["loader_batches"]
    extra_steps = given["EXTRA_EPOCH"] * given["extra_loader_batches"]
    extra = ExtraPhase(epochs=extra_steps, lr=given["EXTRA_LR"]) if extra_steps else None
    return Poly(name="poly", epochs=steps, shift=-1, extra=extra), 1


@pytest.mark.parametrize(("given", "out"), cases("hrnet_poly"))
def test_hrnet(given: dict[str, Any], out: dict[str, Any]) -> None:
    """Its group 1 has ten times the rate of group 0, in all steps but the first whatever NONBACKBONE_MULT says.

    Where an epoch of the loader is longer than one of the schedule, the official rate repeats, and at last is that of
    a step that does not exist: ours goes on falling.
    """
    schedule, steps_per_epoch = hrnets(given)
    rates = learning_rates(schedule, given["LR"], steps_per_epoch)
    used = out["lr_used_by_optimizer_step"]
    if given["loader_batches"] > given["epoch_iters"]:
        assert len(rates) == len(used)
        assert all(isinstance(rate, float) and rate > 0 for rate in rates)
        assert rates[2:] == sorted(set(rates[2:]), reverse=True)
    elif isinstance(used[0], list):
        assert rates == close([backbone for backbone, _ in used])
        assert [10 * rate for rate in rates[1:]] == close([head for _, head in used[1:]])
    else:
        assert rates == close(used)


@pytest.mark.parametrize(("given", "out"), cases("hrnet_poly_function"))
def test_hrnets_function(given: dict[str, Any], out: dict[str, Any]) -> None:
    schedule = Poly(name="poly", epochs=given["max_iters"], power=given["power"])
    for step, (backbone, head) in out["cur_iters -> [group 0, group 1]"].items():
        if int(step) == given["max_iters"]:
            assert backbone == head == 0  # what the run would come to
            continue
        rate = learning_rate(schedule, given["base_lr"], 1, int(step))
        assert [rate, rate * given["nbb_mult"]] == close([backbone, head])
