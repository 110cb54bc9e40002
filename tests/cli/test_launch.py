"""`convsmith launch slurm` says where runs go that no --out places."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from convsmith.cli.main import app

pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[slurm]'")


@pytest.mark.parametrize(
    ("recipe", "place"), [("digits", "runs/digits"), ("cifar10", "runs/cifar10-ladder/cifar10-baseline")]
)
def test_a_run_and_a_ladder_have_usual_folders(
    recipe: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["launch", "slurm", recipe, "--data", "images", "--gpus", "0", "--dry-run"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"--out {place}\n" in result.stdout
