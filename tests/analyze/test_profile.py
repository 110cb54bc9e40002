"""Real steps under a real profiler; what its figures say is tested without timing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from convsmith.analyze.profile import Bound, StepProfile, parts_of_step, profile_training, what_bounds, what_to_try
from convsmith.analyze.profile_events import DATA, OPTIMIZER, REST, Times, gather_times, module_spans
from convsmith.cli.main import main
from convsmith.errors import ConvsmithError
from convsmith.models.registry import create_model
from convsmith.recipe.load import load_recipe
from tests.training.conftest import SMALL

RECIPE = load_recipe("digits", SMALL)


@pytest.fixture(scope="module")
def measured(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StepProfile, Path]:
    out = tmp_path_factory.mktemp("out")
    return profile_training(RECIPE, digits, out, steps=16), out  # with warming up, more than the training's 18 steps


def test_computing_waiting_for_data_and_the_host_add_up_to_the_step(measured: tuple[StepProfile, Path]) -> None:
    result, _ = measured
    parts = (result.device_seconds, result.data_seconds, result.host_seconds)
    assert min(parts) >= 0
    assert math.isclose(sum(parts), result.seconds)
    assert result.bound == what_bounds(*parts)
    assert (result.device, result.batch, result.workers, result.steps) == ("cpu", 8, 0, 16)


def test_its_modules_are_those_of_the_model_the_optimizer_and_the_rest(measured: tuple[StepProfile, Path]) -> None:
    result, _ = measured
    kinds = {name: type(it).__name__ for name, it in create_model("cifar_resnet20", num_classes=4).named_modules()}
    kinds["(the model itself)"] = kinds.pop("")
    found = {row.name: row.kind for row in result.modules}
    assert found.pop(OPTIMIZER) == found.pop(REST) == ""
    assert found.items() <= kinds.items()
    convolutions = {name for name, kind in kinds.items() if kind == "Conv2d"}
    both_passes = {row.name for row in result.modules if 0 < row.forward < row.seconds}
    assert convolutions <= both_passes


def test_its_operators_are_those_of_a_training_step(measured: tuple[StepProfile, Path]) -> None:
    calls = {row.name: row.calls for row in measured[0].operators}
    assert calls["aten::convolution_backward"] == calls["aten::convolution"] == 19
    assert calls["aten::native_batch_norm_backward"] == 19


@pytest.mark.parametrize("rows", ["operators", "modules"])
def test_shares_add_up_to_all_computing_and_the_slowest_is_first(measured: tuple[StepProfile, Path], rows: str) -> None:
    shares = [row.share for row in getattr(measured[0], rows)]
    assert math.isclose(sum(shares), 1)
    assert shares == sorted(shares, reverse=True)


def test_it_leaves_its_figures_and_a_chrome_trace_and_nothing_else(measured: tuple[StepProfile, Path]) -> None:
    result, out = measured
    assert {path.name for path in out.iterdir()} == {"profile.json", "trace.json"}
    assert json.loads((out / "profile.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    names = {event.get("name") for event in json.loads((out / "trace.json").read_text())["traceEvents"]}
    assert {"aten::convolution_backward", "convsmith: module layer1.0.conv1", DATA} <= names


def test_a_folder_that_holds_a_run_is_refused(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(ConvsmithError, match="holds a run: a profile changes none"):
        profile_training(RECIPE, digits, tmp_path, steps=1)


def test_no_steps_are_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="no profile of 0 steps"):
        profile_training(RECIPE, digits, tmp_path, steps=0)


def times_of(model: nn.Module, step: Any) -> Times:
    with module_spans(model), profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    return gather_times(profiler.events(), on_gpu=False)


def test_the_backward_pass_is_that_of_the_module_whose_forward_pass_made_it() -> None:
    """Of three layers the first does not learn and gets no gradient, the second is of operators that make no node."""
    model = nn.Sequential(nn.Linear(8, 8).requires_grad_(False), nn.Dropout(0.0), nn.Linear(8, 8))
    modules = times_of(model, lambda: model(torch.ones(2, 8)).sum().backward()).modules
    assert modules["0"].forward > 0
    assert modules["0"].backward == 0
    assert modules["2"].backward > 0
    assert modules["1"].backward == 0
    assert modules[REST].backward > 0  # of the sum, and where gradients are added to those of the weights


def test_a_module_counts_its_calls_and_only_what_is_not_of_the_modules_in_it() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(self.inner(x).tanh())  # type: ignore[no-any-return]

    model = Twice()
    times = times_of(model, lambda: model(torch.ones(2, 8)))
    assert (times.modules[""].calls, times.modules["inner"].calls) == (1, 2)
    assert math.isclose(times.modules[""].forward, times.operators["aten::tanh"].seconds)


def test_loading_of_data_is_no_computing() -> None:
    def step() -> None:
        with record_function(DATA):
            torch.ones(8).sort()
        torch.ones(8).exp()

    operators = times_of(nn.Identity(), step).operators
    assert "aten::exp" in operators
    assert "aten::sort" not in operators


def test_the_hooks_are_gone_after_the_profile() -> None:
    model = nn.Linear(2, 2)
    with module_spans(model):
        assert model._forward_hooks
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(
    ("computed", "waited", "parts"),
    [(4.0, 1.0, (4.0, 1.0, 5.0)), (12.0, 1.0, (10.0, 0.0, 0.0)), (4.0, 8.0, (4.0, 6.0, 0.0))],
)
def test_a_step_is_computing_then_waiting_for_data_and_what_is_left_is_the_hosts(
    computed: float, waited: float, parts: tuple[float, float, float]
) -> None:
    assert parts_of_step(10.0, computed, waited) == parts


@pytest.mark.parametrize(
    ("parts", "bound"), [((5.0, 3.0, 2.0), "device"), ((1.0, 3.0, 2.0), "data"), ((1.0, 2.0, 3.0), "host")]
)
def test_the_largest_part_of_the_step_bounds_it(parts: tuple[float, float, float], bound: Bound) -> None:
    assert what_bounds(*parts) == bound


def test_the_sentence_names_what_bounds_the_step_and_all_three_shares() -> None:
    row = StepProfile("cuda", "bf16", 8, 64, 20, 0.2, 0.15, 0.02, 0.03, "device", "", (), ())
    assert row.sentence == (
        "The device bounds the step: the cuda computes for 75% of it (10% waiting for data and 15% the host)."
    )


@pytest.mark.parametrize(
    ("bound", "used", "workers", "advice"),
    [
        ("data", "bf16", 2, "data.workers=4"),
        ("data", "bf16", 6, "data.workers=8"),
        ("data", "bf16", 8, "smaller image files"),
        ("host", "bf16", 8, "batch.size"),
        ("device", "fp32", 8, "precision=auto"),
        ("device", "bf16", 8, "as it should be"),
    ],
)
def test_the_advice_fits_what_bounds_the_step(bound: Bound, used: Any, workers: int, advice: str) -> None:
    assert advice in what_to_try(bound, RECIPE, used, best="bf16", workers=workers, cores=8)


def test_the_channels_last_layout_is_advised_where_the_recipe_has_it_off() -> None:
    recipe = load_recipe("digits", [*SMALL, "channels_last=false"])
    assert "channels_last=true" in what_to_try("device", recipe, "bf16", best="bf16", workers=1, cores=8)


def test_the_command_prints_both_tables_and_the_sentence(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["profile", "digits", *SMALL, "--data", str(digits), "--out", str(tmp_path), "--steps", "2"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "aten::" in printed
    assert "Conv2d" in printed
    assert "bounds the step" in printed
