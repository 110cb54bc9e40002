"""Which metric judges a model, wherever one is held against another: that of its recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import convsmith as cs
from convsmith.bundle.figures.classification_metrics import ClassificationResults
from convsmith.bundle.format import read_manifest
from convsmith.cli.main import main
from convsmith.deploy.labelled import metric_of
from convsmith.deploy.trial import Outcome, compare
from tests.colours import write_colour_bundle
from tests.exports import write_colours
from tests.stripes import write_pixel_bundle


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a run that was chosen by balanced accuracy."""
    path = tmp_path_factory.mktemp("bundles") / "balanced"
    return write_colour_bundle(path, recipe={"metric": "balanced_accuracy"})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("data") / "colours")


@pytest.mark.parametrize(
    ("recipe", "metric"),
    [
        ({"metric": "balanced_accuracy"}, "balanced_accuracy"),
        ({"metric": "top1"}, "top1"),
        ({"metric": "loss"}, "top1"),  # no fraction, so nothing to count in points
        ({"metric": "miou"}, "top1"),
        ({"metric": ["top1"]}, "top1"),
        ({}, "top1"),
    ],
)
def test_a_classifier_is_judged_by_the_metric_of_its_recipe(
    tmp_path: Path, recipe: dict[str, object], metric: str
) -> None:
    assert metric_of(read_manifest(write_colour_bundle(tmp_path / "bundle", recipe=recipe))) == metric


@pytest.mark.parametrize("metric", ["miou", "mean_accuracy", "pixel_accuracy"])
def test_segmentation_is_judged_by_the_metric_of_its_recipe(tmp_path: Path, metric: str) -> None:
    assert metric_of(read_manifest(write_pixel_bundle(tmp_path / "bundle", recipe={"metric": metric}))) == metric


def test_a_drop_is_of_the_recipes_metric(balanced: Path) -> None:
    """One of two images of a class is lost, and ten are there in all."""
    targets = np.array([0] * 8 + [1] * 2)
    exact, other = (outcome(answers, targets) for answers in (targets, np.array([0] * 9 + [1])))
    assert compare(read_manifest(balanced), exact, other).drop == pytest.approx(50 / 2)


def outcome(answers: NDArray[np.int64], targets: NDArray[np.int64]) -> Outcome:
    results = ClassificationResults()
    logits = np.eye(3, dtype=np.float32)[answers]
    results.update(logits, targets)
    return Outcome(len(targets), [results], [logits], [answers])


def test_quantize_prints_the_recipes_metric(
    balanced: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convsmith.deploy.speed._SECONDS", 0.0)
    words = ["quantize", balanced, "--data", data, "--out", tmp_path / "int8", "--method", "dynamic"]
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 0
    assert "balanced accuracy of" in capsys.readouterr().out


def test_a_proof_states_the_recipes_metric(balanced: Path, data: Path, tmp_path: Path) -> None:
    parity = cs.export(balanced, "onnx", tmp_path / "out", data)["parity"]
    assert parity["balanced_accuracy"] == parity["trained_balanced_accuracy"] == 1
    assert "top1" not in parity
