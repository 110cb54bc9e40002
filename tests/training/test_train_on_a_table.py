"""A training on a table, from its first step over the bundle to the evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

import convsmith as cs
from tests.training.conftest import SMALL
from tests.training.test_interrupted import assert_same_run
from tests.training.test_resume_with_tricks import Killed, Killer

pytestmark = pytest.mark.slow

RECIPE = (*SMALL, "schedule.epochs=1", "ema.decay=0.9", "checkpoint.every_steps=2", "batch.per_device=4")


@pytest.fixture(scope="module")
def table(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as a table that lies elsewhere, classes in turn."""
    path = tmp_path_factory.mktemp("table") / "digits.csv"
    files = sorted(digits.glob("*/*/*.png"), key=lambda file: file.name)
    rows = [f"{file},digit {file.parent.name},{file.parent.parent.name}\n" for file in files]
    path.write_text("".join(["path,label,split\n", *rows]))
    return path


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    return cs.train(cs.load_recipe("digits", RECIPE), table, tmp_path_factory.mktemp("runs") / "straight")


def test_the_bundle_is_judged_by_the_rows_of_val(run: cs.Run, table: Path) -> None:
    report = cs.evaluate(run.bundle, table)
    assert (report.images, report.held_out) == (20, True)
    assert report.labels == ("digit 0", "digit 1", "digit 2", "digit 3")
    judged = next(line for line in run.metrics if line["split"] == "val")
    assert report.top1 == pytest.approx(judged["top1"])


def test_a_killed_run_goes_on_bit_for_bit_with_another_number_of_workers(
    run: cs.Run, table: Path, tmp_path: Path
) -> None:
    recipe = cs.load_recipe("digits", RECIPE)
    with pytest.raises(Killed):
        cs.train(recipe, table, tmp_path / "run", observers=[Killer(3)])
    cs.train(cs.load_recipe("digits", [*RECIPE, "data.workers=2"]), table, tmp_path / "run")
    assert_same_run(run.path, tmp_path / "run")


def test_a_run_does_not_go_on_with_other_rows(run: cs.Run, table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(cs.ConvsmithError, match="does not hold the data that this run began with"):
        cs.train(cs.load_recipe("digits", RECIPE), other, run.path)
