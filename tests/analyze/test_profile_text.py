"""What a profile of training steps prints, from figures alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._C._autograd import DeviceType

from convsmith.analyze.profile import (
    PROFILED_STEPS,
    StepProfile,
    TimeShare,
    _rows,
    _TimedBatches,
    at_least,
    what_to_try,
)
from convsmith.analyze.profile_events import DATA, OPTIMIZER, REST, Time, Times, gather_times
from convsmith.data.loading.loader import Batch
from convsmith.recipe.load import load_recipe

OPERATOR = TimeShare("aten::add", "", 0.0125, 0.0125, 0.0625, 3.0)
MODULE = TimeShare("layer1", "Conv2d", 0.02, 0.005, 0.1, 1.0)


def profile(**changes: Any) -> StepProfile:
    values: dict[str, Any] = {
        "device": "cpu", "precision": "fp32", "workers": 1, "batch": 1250, "steps": 20, "seconds": 0.5,
        "device_seconds": 0.25, "data_seconds": 0.05, "host_seconds": 0.2, "bound": "device", "advice": "Try it.",
        "operators": (OPERATOR,), "modules": (MODULE,),
    }  # fmt: skip
    return StepProfile(**(values | changes))


def test_both_tables_the_speed_and_what_bounds_a_step_are_printed() -> None:
    assert str(profile()).splitlines() == [
        "",
        " operator       ms   share   calls",
        " ─────────────────────────────────",
        " aten::add   12.50    6.2%       3",
        "",
        "",
        " module   kind        ms   forward   backward   share",
        " ────────────────────────────────────────────────────",
        " layer1   Conv2d   20.00      5.00      15.00   10.0%",
        "",
        "step:  500.0 ms for 1,250 images, 2,500.0 images/s; cpu in fp32, 1 loader worker",
        "The device bounds the step: the cpu computes for 50% of it (10% waiting for data and 40% the host).",
        "Try it.",
    ]


def test_fifteen_rows_of_each_table_are_printed_and_all_are_kept() -> None:
    result = profile(operators=(OPERATOR,) * 16, modules=(MODULE,) * 17)
    assert str(result).count("aten::add") == str(result).count("layer1") == 15
    rows = result.records()
    assert [row["of"] for row in rows] == ["operator"] * 16 + ["module"] * 17
    assert rows[0]["seconds"] == 0.0125
    told = result.to_dict()
    assert (told["images_per_second"], told["sentence"]) == (2500, result.sentence)


def test_waiting_for_data_is_the_time_in_which_batches_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([1.0, 3.0, 10.0, 11.0])
    monkeypatch.setattr("convsmith.analyze.profile.time", SimpleNamespace(perf_counter=lambda: next(now)))
    batches = _TimedBatches(iter([Batch(torch.zeros(1), torch.zeros(1), [])] * 2))
    next(batches), next(batches)
    assert batches.seconds == 3.0


@pytest.mark.parametrize(
    ("bound", "sentence"),
    [
        (
            "data",
            "Loading of data bounds the step: the training waits for images for 10% of it (50% computing and 40% the "
            "host).",
        ),
        (
            "host",
            "The host bounds the step: Python and the launching of operators take 40% of it (50% computing and 10% "
            "waiting for data).",
        ),
    ],
)
def test_what_bounds_a_step_comes_first(bound: Any, sentence: str) -> None:
    assert profile(bound=bound).sentence == sentence


@pytest.mark.parametrize(
    ("workers", "cores", "advice"),
    [
        (0, 8, "Try data.workers=2;"),
        (1, 8, "Try data.workers=2;"),
        (7, 8, "Try data.workers=8;"),
        (8, 8, "All cores load already"),
        (0, 1, "Try data.workers=1;"),
    ],
)
def test_twice_as_many_workers_are_advised_as_far_as_there_are_cores(workers: int, cores: int, advice: str) -> None:
    recipe = load_recipe("digits")
    assert what_to_try("data", recipe, "fp32", best="fp32", workers=workers, cores=cores).startswith(advice)


def test_a_precision_that_is_the_best_is_not_advised() -> None:
    recipe = load_recipe("digits", ["channels_last=true"])
    assert what_to_try("device", recipe, "fp32", best="fp32", workers=1, cores=1).startswith("That is as it should be")


def test_a_plan_goes_on_as_it_ended() -> None:
    plan = load_plan()
    longer = at_least(plan, plan.total_steps + 3)
    assert longer.total_steps == len(longer.lr) == plan.total_steps + 3
    assert [*longer.lr] == [*plan.lr, *[plan.lr[-1]] * 3]
    assert longer.weight_decay is None or longer.weight_decay[-3:] == (longer.weight_decay[-1],) * 3
    assert at_least(plan, 1) == plan


def load_plan() -> Any:
    from convsmith.recipe.make_plan import make_plan

    return make_plan(load_recipe("digits", ["model.num_classes=10"]), 100)


def test_rows_are_of_one_step_the_slowest_first_and_without_those_that_take_no_time() -> None:
    times = Times()
    times.modules["a"], times.modules[""] = Time(3.0, 0.0, 3), Time(3.0, 3.0, 6)
    times.modules["none"] = Time(0.0, 0.0, 9)
    assert PROFILED_STEPS == 3
    assert _rows(times, "modules", {"a": "Conv2d", "": "Net"}) == (
        TimeShare("(the model itself)", "Net", 2.0, 1.0, 6 / 9, 2.0),
        TimeShare("a", "Conv2d", 1.0, 1.0, 3 / 9, 1.0),
    )
    times = Times()
    times.operators["o"] = Time(3.0, 0.0, 3)
    assert _rows(times, "operators", {})[0].share == 0.0  # nothing was computed in a module


def event(name: str, *children: Any, number: int = -1, mark: bool = False, cpu: float = 1e6, gpu: float = 2e6) -> Any:
    """An event of the profiler that takes a second of its own on the CPU, two on a GPU."""
    made = SimpleNamespace(
        name=name, sequence_nr=number, is_user_annotation=mark, device_type=DeviceType.CPU, cpu_parent=None,
        cpu_children=list(children), self_cpu_time_total=cpu, self_device_time_total=gpu,
        time_range=SimpleNamespace(start=0),
    )  # fmt: skip
    for place, child in enumerate(children):
        child.cpu_parent, child.time_range.start = made, place
    return made


def flat(*roots: Any) -> list[Any]:
    return [it for root in roots for it in (root, *flat(*root.cpu_children))]


@pytest.mark.parametrize(("on_gpu", "second"), [(False, 1.0), (True, 2.0)])
def test_each_operator_counts_for_its_module_in_the_pass_that_it_is_of(on_gpu: bool, second: float) -> None:
    inner = event("convsmith: module a", event("aten::conv", event("aten::pad", number=0)), mark=True)
    roots = [
        event(DATA, event("aten::sort"), mark=True),
        event("convsmith: module ", inner, event("aten::add", number=7), mark=True),
        event("aten::loss", number=9),
        event("autograd::engine::evaluate_function: Pad", event("PadBackward"), number=0),
        event("autograd::engine::evaluate_function: Loss", event("LossBackward"), number=9),
        event("Optimizer.step#SGD.step", event("aten::mul"), mark=True),
    ]
    kernel = SimpleNamespace(name="kernel", device_type=DeviceType.CUDA, cpu_parent=None)
    times = gather_times([*flat(*roots), kernel], on_gpu)
    found = {name: (it.forward, it.backward, it.calls) for name, it in times.modules.items()}
    assert found == {
        "": (second, 0.0, 1.0),
        "a": (2 * second, second, 1.0),
        REST: (second, second, 0.0),
        OPTIMIZER: (second, 0.0, 0.0),
    }
    assert set(times.operators) == {
        "aten::conv", "aten::pad", "aten::add", "aten::loss", "PadBackward", "LossBackward", "aten::mul",
    }  # fmt: skip
    assert (times.operators["aten::pad"].seconds, times.operators["aten::pad"].calls) == (second, 1)
    assert times.seconds == 7 * second
