"""Going on from a checkpoint that is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import convsmith as cs
from tests.training.conftest import SMALL

pytestmark = pytest.mark.usefixtures("tiny")

WORDS = (*SMALL, "model.name=tiny", "checkpoint.keep=9")  # three epochs of six steps


@pytest.fixture(scope="module")
def run(tiny: None, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    return cs.train(cs.load_recipe("digits", WORDS), digits, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(autouse=True)
def without_packing(run: cs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)


def last_weights(run: cs.Run) -> bytes:
    return (run.checkpoints / "last" / "model.safetensors").read_bytes()


def steps(run: cs.Run) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("step-*"))


def go_on(digits: Path, out: Path, checkpoint: Path, *words: str) -> cs.Run:
    return cs.train(cs.load_recipe("digits", [*WORDS, *words]), digits, out, resume=checkpoint)


def test_a_run_goes_back_to_a_step_of_its_own_and_comes_to_the_same_end(
    run: cs.Run, digits: Path, tmp_path: Path
) -> None:
    copy = cs.Run(shutil.copytree(run.path, tmp_path / "copy", symlinks=True))
    go_on(digits, copy.path, copy.checkpoints / "step-00000006")
    assert steps(copy) == steps(run) == ["step-00000006", "step-00000012", "step-00000018"]
    assert last_weights(copy) == last_weights(run)
    assert (copy.path / "bundle-before-resume").is_dir()
    assert [line["step"] for line in copy.metrics] == [line["step"] for line in run.metrics]


def test_a_new_run_begins_with_the_checkpoint_of_another(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    new = go_on(digits, tmp_path / "new", run.checkpoints / "step-00000012")
    assert last_weights(new) == last_weights(run)
    assert [line["step"] for line in new.metrics] == [line["step"] for line in run.metrics]
    assert "holds a bundle" not in (new.path / "log.txt").read_text()
    again = go_on(digits, new.path, run.checkpoints / "step-00000012")  # the same command
    assert "goes on with its own" in (again.path / "log.txt").read_text()


@pytest.mark.parametrize("place", ["checkpoints", "checkpoints/step-00000099", "nowhere"])
def test_what_is_not_a_checkpoint_is_an_error_that_lists_those_there_are(place: str, run: cs.Run, digits: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="is not a checkpoint of a run") as refused:
        go_on(digits, run.path, run.path / place)
    assert "best, last, step-00000006" in refused.value.fix
    assert run.bundle.is_dir()


def test_a_checkpoint_of_another_recipe_is_refused(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="another recipe: these keys differ: seed"):
        go_on(digits, tmp_path / "new", run.checkpoints / "best", "seed=1")


def test_a_damaged_checkpoint_is_refused(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    copy = cs.Run(shutil.copytree(run.path, tmp_path / "copy", symlinks=True))
    (copy.checkpoints / "step-00000006" / "model.safetensors").write_bytes(b"")
    with pytest.raises(cs.ConvsmithError, match="is damaged"):
        go_on(digits, copy.path, copy.checkpoints / "step-00000006")
    assert copy.bundle.is_dir()
