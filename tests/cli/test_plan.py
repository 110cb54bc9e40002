from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import typer
from typer.testing import CliRunner

from convsmith import machine
from convsmith.cli.plan import plan
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.tasks.bfloat16 import has_bfloat16

SMALL = ["batch.size=64", "optimizer.lr=0.1", "schedule.epochs=4", "schedule.warmup_epochs=1"]

app = typer.Typer()
app.command()(plan)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_is_the_whole_plan() -> None:
    from convsmith.training.model_plan import plan as complete_plan

    printed = json.loads(run("digits", "--num-samples", "1437", "--json", "schedule.epochs=2"))
    assert printed == complete_plan(load_recipe("digits", ["schedule.epochs=2"]), 1437).to_dict()
    assert printed["params"] == 269722  # of ResNet-20: 0.27 million, He et al. 2015


def test_the_order_of_the_samples_is_stated() -> None:
    words = " ".join(run("digits", "--num-samples", "1437", "data.window=500").split())
    assert "within windows of 500 images where they lie in tar shards, which are shuffled too" in words


def test_a_training_without_epochs_has_no_learning_rate() -> None:
    output = run("digits", "--num-samples", "1437", "schedule.epochs=0")
    assert "0 = 0 epochs x 23" in output
    assert "first step" not in output


def test_the_table_shows_the_division_the_steps_and_the_learning_rate() -> None:
    output = run("digits", "--num-samples", "1437", "--devices", "2", *SMALL)
    assert "64 = 2 devices x 32 x 1 accumulated" in output
    assert "92 = 4 epochs x 23" in output
    assert "0.1 at step 23, end of warmup" in output
    assert "269,722 parameters" in output


def test_one_device_and_one_epoch_are_no_plural() -> None:
    output = run("digits", "--num-samples", "64", "batch.size=64", "schedule.epochs=1", "schedule.warmup_epochs=0")
    assert "64 = 1 device x 64 x 1 accumulated" in output
    assert "1 = 1 epoch x 1" in output


def test_the_steps_of_a_second_phase_are_those_of_its_own_images() -> None:
    extra = ["schedule.extra={epochs: 2, lr: 0.01}", "--extra-samples", "2000"]
    assert "156 = 4 epochs x 23 + 2 x 32" in run("digits", "--num-samples", "1437", *SMALL, *extra)


def test_a_batch_that_cannot_be_divided_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match=r"batch.size=63 or batch.size=66"):
        CliRunner().invoke(app, ["digits", "--num-samples", "9", "--devices", "3", *SMALL], catch_exceptions=False)


def test_help_has_an_example() -> None:
    assert "Example: convsmith plan" in run("--help")


@pytest.mark.parametrize("words", [["digits"], ["digits", "--devices", "2", "batch.size=64"]])
def test_what_is_known_of_a_packaged_recipe_is_printed_as_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(machine, "computes_bfloat16", lambda: has_bfloat16(torch.device("cpu")))
    printed = []
    for may_have_gpu in (False, True):
        monkeypatch.setattr(machine, "may_have_gpu", lambda answer=may_have_gpu: answer)
        printed.append(run(*words, "--num-samples", "1437"))
    assert printed[0] == printed[1]
    assert "GMACs" in printed[0]


def test_the_table_of_a_packaged_recipe_takes_no_torch_where_there_is_no_gpu() -> None:
    program = """if True:
        import sys
        from convsmith import machine
        from convsmith.cli.main import main
        machine.may_have_gpu, machine.computes_bfloat16 = lambda: False, lambda: True
        main(["plan", "resnet50-in1k", "--num-samples", "1281167", "--devices", "8"])
        assert "torch" not in sys.modules
    """
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "25,557,032 parameters, 4.089 GMACs" in result.stdout
    assert "161 tensors, weight decay 0.0001, learning rate x 1" in result.stdout


def test_whether_a_model_can_learn_from_one_image_at_a_time_is_tried_though_its_cost_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[object] = []
    monkeypatch.setattr("convsmith.training.model_plan._check_single_images", lambda *given: tried.append(given))
    run("digits", "--num-samples", "1437", "batch.per_device=1")
    assert len(tried) == 1


def test_recipe_commands_import_no_torch() -> None:
    program = """if True:
        import sys
        from convsmith.cli import plan, recipes
        assert not {"pydantic", "yaml", "rich"} & sys.modules.keys()  # for an instant --help
        from convsmith.recipe import load, plan, schedules, json_schema
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True)
