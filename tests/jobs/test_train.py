"""`cs.train` takes what `convsmith train` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convsmith as cs
from convsmith.analyze.report import make_report
from convsmith.jobs import train as module
from convsmith.launch.world import World
from convsmith.training.observers.base import Observer
from tests.training.conftest import SMALL
from tests.training.tiny_model import name_tiny

REPORTS_AT_END = True

WORDS = (*SMALL, "model.name=tiny", "schedule.epochs=1", "schedule.warmup_epochs=0")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Train in well under a second, pack nothing, and write below a folder of the test."""
    name_tiny(monkeypatch)
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)
    monkeypatch.setenv("CONVSMITH_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("CONVSMITH_TRACKER", raising=False)


def test_a_recipe_by_name_takes_overrides_and_goes_to_the_folder_of_runs(digits: Path, tmp_path: Path) -> None:
    run = cs.train("digits", digits, overrides=WORDS)
    assert run.path == tmp_path / "runs/digits"
    assert run.recipe.model.name == "tiny"


def test_a_training_ends_in_a_report(digits: Path, tmp_path: Path) -> None:
    run = cs.train("digits", digits, tmp_path / "run", overrides=WORDS)
    page = (run.path / "report.html").read_text("utf-8")
    assert all(f'<section id="{it}">' in page for it in ("what-was-trained", "the-recipe-in-full", "make-it-again"))


def test_a_report_that_fails_costs_no_training(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(make_report, "write_report", fail)
    run = cs.train("digits", digits, tmp_path / "run", overrides=WORDS)
    assert run.has_begun
    assert "there is no report" in caplog.text


def test_a_recipe_takes_overrides_too(digits: Path, tmp_path: Path) -> None:
    recipe = cs.load_recipe("digits", WORDS)
    run = cs.train(recipe, digits, tmp_path / "run", overrides=["seed=4"])
    assert run.recipe == recipe.model_copy(update={"seed": 4}).with_num_classes(4)


def test_it_starts_from_weights_of_a_run(digits: Path, tmp_path: Path) -> None:
    first = cs.train("digits", digits, overrides=WORDS)
    run = cs.train("digits", digits, tmp_path / "next", overrides=[*WORDS, "seed=1"], weights=first.path)
    assert run.recipe.model.weights == str(first.path)


def test_images_alone_choose_a_recipe_and_say_why(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = cs.train(digits, out=None, overrides=[*WORDS, "augment.random_crop.padding=2"])
    told = capsys.readouterr().err
    assert "48 training images in 4 classes" in told
    assert f"so: convsmith train cifar_resnet20-cifar10-short --data {digits} --out {run.path} " in told
    assert run.path.name == digits.name


def test_a_run_prints_its_epochs_and_is_a_frame_of_its_records(digits: Path) -> None:
    pandas = pytest.importorskip("pandas")
    run = cs.train("digits", digits, overrides=WORDS)
    header, row = [line.split() for line in str(run).splitlines() if line.strip()][::2][:2]
    assert header[:3] == ["epoch", "loss", "learning"]
    assert row[0] == "1"
    assert str(run).splitlines()[-2:] == [f"run:    {run.path}", "bundle: not yet"]
    frame = run.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.split.tolist() == ["train", "val"]
    assert frame.loss.tolist() == [line["loss"] for line in run.metrics]


def test_a_run_that_has_not_begun_prints_too(tmp_path: Path) -> None:
    assert "bundle: not yet" in str(cs.Run(str(tmp_path / "nothing")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"minutes": 2, "devices": 2}, "minutes= goes with one process"),
        ({"devices": 2, "observers": [Observer()]}, "observers go with one process"),
        ({"tracker": "mlflo"}, r"there is no tracker `mlflo`; did you mean `mlflow`\?"),
        ({"data": None}, "data= is missing: `digits` is a recipe"),
    ],
)
def test_what_cannot_be_had_is_told_in_words_of_python(digits: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.train(**{"recipe": "digits", "data": digits, "overrides": WORDS, **given})  # type: ignore[arg-type]


def test_a_tracker_whose_package_is_missing_says_what_to_install(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(cs.ConvsmithError, match=r"package `mlflow`.*\nInstall it with"):
        cs.train("digits", digits, overrides=WORDS, tracker="mlflow")


def test_the_tracker_of_the_environment_is_taken(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_TRACKER", "nothing")
    with pytest.raises(cs.ConvsmithError, match="there is no tracker `nothing`"):
        cs.train("digits", digits, overrides=WORDS)


def test_several_processes_get_the_same_as_words(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[list[str], int, int, int]] = []
    monkeypatch.setattr(module, "launch", lambda *given: launched.append(given))
    run = cs.train("digits", digits, tmp_path / "x", overrides=["seed=1"], devices=2, weights="w.pth", shard=True)
    ((words, devices, _, restarts),) = launched
    assert (run.path, devices, restarts) == (tmp_path / "x", 2, 0)
    assert {f"--data={digits}", f"--out={tmp_path / 'x'}", "--devices=2", "--finetune=w.pth", "--shard"} < {*words}
    assert words[-3:] == ["--", "digits", "seed=1"]


@pytest.mark.slow
def test_a_recipe_trains_in_two_processes_of_their_own(digits: Path, tmp_path: Path) -> None:
    recipe = cs.load_recipe("digits", [*SMALL, "schedule.epochs=1", "schedule.warmup_epochs=0", "precision=fp32"])
    run = cs.train(recipe, digits, tmp_path / "run", overrides=["seed=2"], devices=2)
    assert run.plan["world_size"] == 2
    assert run.recipe.seed == 2
    assert run.bundle.is_dir()
    with pytest.raises(cs.ConvsmithError, match="holds a finished run of another recipe"):
        cs.train(recipe, digits, tmp_path / "run", devices=2)


def test_the_processes_of_a_launcher_are_not_started_again(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "of_environment", classmethod(lambda cls: cls(0, 4, 0, 4)))
    with pytest.raises(cs.ConvsmithError, match="devices=2 starts processes, but a launcher has started 4"):
        cs.train("digits", digits, devices=2)


def test_a_recipe_is_not_planned_for_minutes(digits: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="minutes= goes with the name or path of a recipe"):
        cs.train(cs.load_recipe("digits", WORDS), digits, minutes=1)


def test_images_that_python_holds_are_data(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8)
    held = pixels, [number % 2 for number in range(24)]
    run = cs.train("digits", held, tmp_path / "run", overrides=WORDS)
    assert run.recipe.model.num_classes == 2
    with pytest.raises(cs.ConvsmithError, match="images in memory go with one process"):
        cs.train("digits", held, tmp_path / "other", devices=2)
