"""A ladder of two real trainings, stopped in the second and gone on with."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from convsmith.analyze.report.make_report import report
from convsmith.bundle.format import read_manifest
from convsmith.cli.main import app
from convsmith.errors import ConvsmithError
from convsmith.jobs.ablation import Ablation, Measured, RungResult, ablate
from convsmith.recipe.ladder import load_ladder
from convsmith.training.run import Run
from convsmith.training.train import TrainingInterrupted
from tests.training.conftest import SMALL

pytestmark = pytest.mark.usefixtures("tiny")

WORDS = (*SMALL, "model.name=tiny", "schedule.epochs=2")
FOLDS = ("fold-0", "fold-1")


@dataclass(frozen=True)
class Stopped:
    """What there was when the second step had been stopped, and the result of the same call again."""

    ladder: Path
    out: Path
    table: str
    plot: bytes
    first_run: dict[str, float]
    announced: list[tuple[str, int, int | None]]
    result: Ablation


class _StopSecondStep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "step 0 of 12":
            os.kill(os.getpid(), signal.SIGTERM)


def times(run: Path) -> dict[str, float]:
    """When the files that a training writes were last written."""
    return {str(file): file.stat().st_mtime for part in ("checkpoints", "bundle") for file in (run / part).rglob("*")}


@pytest.fixture(scope="module")
def stopped(tiny: None, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = tmp_path_factory.mktemp("ladder")
    (folder / "smooth.yaml").write_text("extends: digits\nloss: {label_smoothing: 0.1}")
    (folder / "tiny.yaml").write_text("description: a | b\nsteps: [digits, smooth.yaml]")
    ladder, out, handler = folder / "tiny.yaml", folder / "out", _StopSecondStep()
    announced: list[tuple[str, int, int | None]] = []

    def announce(name: str, done: int, total: int | None) -> None:
        announced.append((name, done, total))
        if name == "smooth":
            logging.getLogger("convsmith").addHandler(handler)

    try:
        with pytest.raises(TrainingInterrupted):
            ablate(ladder, digits, out, WORDS, announce)
    finally:
        logging.getLogger("convsmith").removeHandler(handler)
    table, plot, first_run = (
        (out / "ablation.md").read_text(),
        (out / "ablation.png").read_bytes(),
        times(out / "digits"),
    )
    return Stopped(ladder, out, table, plot, first_run, announced, ablate(ladder, digits, out, WORDS))


def test_each_step_is_announced_with_how_many_there_are(stopped: Stopped) -> None:
    assert stopped.announced == [("digits", 0, 2), ("smooth", 1, 2)]


def test_a_stopped_ladder_leaves_a_table_that_says_what_is_unfinished(stopped: Stopped) -> None:
    assert "| smooth | `loss.label_smoothing=0.1` | unfinished |  |  |  |  |  |\n" in stopped.table
    assert stopped.table.endswith("\n1 of 2 steps finished; the same command goes on.\n")


def test_the_same_call_goes_on_and_trains_no_finished_step_again(stopped: Stopped) -> None:
    assert stopped.first_run
    assert times(stopped.out / "digits") == stopped.first_run
    assert all(row.measured for row in stopped.result.rows)


def test_a_finished_ladder_gives_the_same_results_and_trains_nothing(stopped: Stopped, digits: Path) -> None:
    before = times(stopped.out / "smooth")
    assert ablate(stopped.ladder, digits, stopped.out, WORDS) == stopped.result
    assert times(stopped.out / "smooth") == before


def test_the_figures_are_those_of_the_runs(stopped: Stopped) -> None:
    levels = []
    for row in stopped.result.rows:
        lines = Run(stopped.out / row.step).metrics
        top1 = [line["top1"] for line in lines if line["split"] == "val"]
        seconds = [line["seconds"] for line in lines if line["split"] == "train"]
        assert row.measured is not None
        assert (row.measured.epochs, row.measured.last, row.measured.best) == (2, top1[-1], max(top1))
        assert row.measured.minutes == sum(seconds) / 60
        levels.append(top1[-1])
    first, second = (row.measured for row in stopped.result.rows)
    assert first is not None
    assert second is not None
    assert (first.gain, first.total_gain) == (None, None)
    assert second.gain == second.total_gain == levels[1] - levels[0]


def test_the_json_file_holds_the_result(stopped: Stopped) -> None:
    written = json.loads((stopped.out / "ablation.json").read_text())
    assert written == json.loads(json.dumps(stopped.result.to_dict()))
    assert (written["metric"], written["overrides"]) == ("top1", list(WORDS))
    assert written["rows"][1]["changes"] == {"loss.label_smoothing": 0.1}


def test_the_plot_is_a_png_that_changes_with_the_results(stopped: Stopped) -> None:
    with Image.open(stopped.out / "ablation.png") as image:
        assert image.format == "PNG"
        assert image.width > image.height > 0
    assert (stopped.out / "ablation.png").read_bytes() != stopped.plot


def test_the_command_prints_json_and_its_progress_beside(stopped: Stopped, digits: Path) -> None:
    command = ["ablate", str(stopped.ladder), "--data", str(digits), "--out", str(stopped.out), "--json", *WORDS]
    answer = CliRunner().invoke(app, command)
    assert json.loads(answer.stdout) == json.loads(json.dumps(stopped.result.to_dict()))
    assert [line for line in answer.stderr.splitlines() if line.startswith("step")] == [
        "step 1 of 2: digits",
        "step 2 of 2: smooth",
    ]


def test_runs_of_other_recipes_in_the_folder_are_an_error(stopped: Stopped, digits: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"run of another recipe: these keys differ: seed"):
        ablate(stopped.ladder, digits, stopped.out, (*WORDS, "seed=1"))


def test_a_step_that_fails_is_noted_and_the_others_are_trained(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "hot.yaml").write_text("extends: digits\noptimizer: {lr: 1.0e+30}")
    (tmp_path / "cold.yaml").write_text("extends: digits\noptimizer: {lr: 0.01}")
    (tmp_path / "tiny.yaml").write_text("description: d\nsteps: [hot.yaml, cold.yaml]")
    words = [
        "model.name=tiny",
        *(word for word in SMALL if not word.startswith(("optimizer.lr", "schedule"))),
        "schedule={epochs: 1}",
    ]
    command = ["ablate", str(tmp_path / "tiny.yaml"), "--data", str(digits), "--out", str(tmp_path / "out"), *words]
    answer = CliRunner().invoke(app, [*command, "schedule.warmup_epochs=0"])
    assert answer.exit_code == 1
    assert "| hot |  | failed: the training loss is not a finite number" in answer.stdout
    assert "1 of 2 steps finished" in answer.stdout
    assert (tmp_path / "out" / "cold" / "bundle").is_dir()


def test_a_ladder_that_does_not_validate_is_an_error_before_anything_is_trained(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="the step `cifar10-baseline` cannot be compared: its `eval` is false"):
        ablate("cifar10", digits, tmp_path / "out", ["eval=false"])
    assert not (tmp_path / "out").exists()


def test_steps_that_are_not_trained_are_an_error(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"cannot be compared: its schedule\.epochs is 0"):
        ablate("cifar10", digits, tmp_path / "out", ["schedule.epochs=0"])


def test_steps_that_are_judged_by_different_metrics_are_an_error(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: digits\nmetric: balanced_accuracy")
    (tmp_path / "mine.yaml").write_text("description: an example\nsteps: [digits, other.yaml]")
    with pytest.raises(ConvsmithError, match="it is judged by balanced_accuracy, `digits` by top1"):
        ablate(tmp_path / "mine.yaml", digits, tmp_path / "out")


def test_the_table_gives_percent_and_points_and_keeps_its_columns() -> None:
    rows = (
        RungResult("start", {}, Measured(2, 0.5, 0.75, None, None, 1234.4, 90.0)),
        RungResult("worse", {"a": "x|y"}, Measured(2, 0.485, 0.5, -0.015, -0.015, 1200.0, 91.26)),
        RungResult("better", {"b": None, "c": [1, 2]}, Measured(2, 0.6, 0.6, 0.115, 0.1, 1000.0, 95.0)),
    )
    table = Ablation("mine", "an example", ("seed=1", "eval=true"), "top1", rows).to_markdown()
    assert "All steps with `seed=1 eval=true`." in table
    assert table.splitlines()[-3:] == [
        "| start |  | 50.00 |  |  | 75.00 | 1,234 | 90.0 |",
        r"| worse | `a=x\|y` | 48.50 | -1.50 | -1.50 | 50.00 | 1,200 | 91.3 |",
        "| better | `b=null`, `c=[1, 2]` | 60.00 | +11.50 | +10.00 | 60.00 | 1,000 | 95.0 |",
    ]


def test_the_ladder_in_the_documentation_loads(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "analyze.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    for name, text in zip(("mine", "augmented", "mixed"), blocks, strict=False):
        (tmp_path / f"{name}.yaml").write_text(text)
    steps = load_ladder(tmp_path / "mine.yaml").steps
    added = [{"augment.policy.name": "trivial_augment"}, {"mixing.mixup_alpha": 0.2}]
    assert [step.changes for step in steps] == [{}, *added]


def test_the_interval_of_two_folds_is_that_of_two_folds(folded: tuple[Path, Ablation], tmp_path: Path) -> None:
    out, found = folded
    report(out, out=tmp_path / "ladder.html")
    measured = found.rows[0].measured
    assert measured is not None
    ends = (measured.last + sign * 12.706 * measured.errors["last"] for sign in (-1, 1))
    low, high = (f"{100 * min(max(end, 0), 1):.2f}" for end in ends)
    assert f"{low} to {high}" in (tmp_path / "ladder.html").read_text("utf-8")


def test_the_report_of_a_ladder_has_its_steps_and_their_curves(stopped: Stopped, tmp_path: Path) -> None:
    facts = report(stopped.out, out=tmp_path / "ladder.html")
    page = (tmp_path / "ladder.html").read_text("utf-8")
    assert [step.name for step in facts.steps] == ["digits", "smooth"]
    assert all(len(curve[0]) == 2 for step in facts.steps for curve in step.curves)
    assert all(f'<section id="{it}">' in page for it in ("steps", "curves"))


@pytest.fixture(scope="module")
def folded(tiny: None, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ablation]:
    folder = tmp_path_factory.mktemp("folds")
    (folder / "smooth.yaml").write_text("extends: digits\nloss: {label_smoothing: 0.1}")
    (folder / "mine.yaml").write_text("description: d\nsteps: [digits, smooth.yaml]")
    words = [word for word in WORDS if not word.startswith("schedule")]
    words += ["schedule={epochs: 1}", "schedule.warmup_epochs=0", "data.folds=2"]
    return folder / "out", ablate(folder / "mine.yaml", digits / "train", folder / "out", words)


def test_the_figures_over_folds_are_means_with_standard_errors(folded: tuple[Path, Ablation]) -> None:
    out, result = folded
    top1 = [
        [[line["top1"] for line in Run(out / row.step / fold).metrics if line["split"] == "val"][-1] for fold in FOLDS]
        for row in result.rows
    ]
    first, second = (row.measured for row in result.rows)
    assert first is not None
    assert second is not None
    assert first.last == pytest.approx(np.mean(top1[0]))
    assert first.errors["last"] == pytest.approx(np.std(top1[0], ddof=1) / 2**0.5)
    gains = np.subtract(top1[1], top1[0])
    assert (second.gain, second.errors["gain"]) == pytest.approx((gains.mean(), gains.std(ddof=1) / 2**0.5))
    assert set(first.errors) == {"last", "best"}


def test_each_fold_holds_out_other_images(folded: tuple[Path, Ablation]) -> None:
    out, _ = folded
    recipes = [Run(out / "digits" / fold).recipe for fold in FOLDS]
    assert [(recipe.data.fold, recipe.data.folds) for recipe in recipes] == [(0, 2), (1, 2)]
    digests = {read_manifest(Run(out / "smooth" / fold).bundle).data_digest for fold in FOLDS}
    assert len(digests) == 2


def test_the_table_of_folds_shows_standard_errors() -> None:
    errors = {"last": 0.01, "best": 0.002, "gain": 0.003, "total_gain": 0.003}
    rows = (RungResult("step", {}, Measured(2, 0.5, 0.75, 0.1, 0.1, 1234.4, 90.0, errors)),)
    table = Ablation("mine", "an example", (), "top1", rows).to_markdown()
    assert table.splitlines()[-1] == (
        "| step |  | 50.00 ± 1.00 | +10.00 ± 0.30 | +10.00 ± 0.30 | 75.00 ± 0.20 | 1,234 | 90.0 |"
    )
    assert "Means over the folds, with one standard error" in table


def test_a_recipe_is_a_ladder_of_one_step(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: digits\nseed: 3")
    ladders = [load_ladder("digits", ["data.folds=4"]), load_ladder(tmp_path / "mine.yaml")]
    assert [[step.name for step in ladder.steps] for ladder in ladders] == [["digits"], ["mine"]]
    assert (ladders[0].steps[0].recipe.data.folds, ladders[1].steps[0].recipe.seed) == (4, 3)


def test_steps_of_different_folds_are_an_error(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: digits\ndata: {folds: 3}")
    (tmp_path / "mine.yaml").write_text("description: an example\nsteps: [digits, other.yaml]")
    with pytest.raises(ConvsmithError, match=r"it has other data\.folds than the first step"):
        ablate(tmp_path / "mine.yaml", digits, tmp_path / "out")
