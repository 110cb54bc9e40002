"""How much the figures of some images say of others."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t  # type: ignore[import-untyped]

from convsmith.bundle.figures.certainty_intervals import student
from convsmith.bundle.figures.classification_metrics import ClassificationResults
from convsmith.bundle.figures.segmentation_metrics import SegmentationResults
from convsmith.bundle.format import read_manifest
from convsmith.bundle.task import Results
from convsmith.cli.main import main
from convsmith.deploy.certainty import GROUPS, drop_interval, is_chance, merged, score_of_chance
from convsmith.deploy.quantize import quantize_bundle
from tests.colours import colour_model, write_colour_bundle
from tests.exports import write_colours


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.deploy.speed._SECONDS", 0.0)


def answered(right: NDArray[np.bool_]) -> list[Results]:
    """Answers for images of class 0, in groups: right, or class 1."""
    groups: list[Results] = []
    for i in range(min(GROUPS, len(right))):
        mine = right[i::GROUPS]
        results = ClassificationResults()
        results.update(np.stack([mine, ~mine], axis=1).astype(np.float32), np.zeros(len(mine), np.int64))
        groups.append(results)
    return groups


def test_the_interval_holds_what_it_promises() -> None:
    """Of models that lose 3 points of 300 images, and gain 1 elsewhere, in 19 of 20 samples."""
    generator, inside = np.random.default_rng(0), 0
    for _ in range(200):
        draws = generator.random(300)
        exact, other = answered(draws < 0.9), answered((draws < 0.87) | (draws > 0.99))
        interval = drop_interval("top1", exact, other, 300)
        assert interval is not None
        inside += interval[0] <= 2.0 <= interval[1]
    assert 0.9 <= inside / 200 <= 1.0


@pytest.mark.parametrize(("images", "half"), [(2, 100), (5, 60), (100, 3), (5000, 0.06)])
def test_equal_answers_of_few_images_promise_little(images: int, half: float) -> None:
    answers = answered(np.ones(images, np.bool_))
    assert drop_interval("top1", answers, answers, images) == pytest.approx((-half, half))


def test_the_standard_errors_beside_a_mean_are_those_of_students_distribution() -> None:
    counts = range(2, GROUPS + 1)
    assert [student(count) for count in counts] == pytest.approx(
        [t.ppf(0.975, count - 1) for count in counts], abs=5e-4
    )
    assert student(GROUPS + 30) == student(GROUPS)


def test_one_image_has_no_interval() -> None:
    one = answered(np.ones(1, np.bool_))
    assert drop_interval("top1", one, one, 1) is None


def test_pixels_that_were_never_labelled_have_no_interval() -> None:
    nothing: list[Results] = [SegmentationResults(2), SegmentationResults(2)]
    assert drop_interval("miou", nothing, nothing, 2) is None


def test_the_interval_of_masks_comes_from_how_images_differ() -> None:
    generator = np.random.default_rng(0)
    exact: list[Results] = [SegmentationResults(2) for _ in range(10)]
    other: list[Results] = [SegmentationResults(2) for _ in range(10)]
    for one, two in zip(exact, other, strict=True):
        truth = generator.integers(0, 2, (20, 20), dtype=np.uint8)
        for results, share in ((one, 0.02), (two, 0.05)):
            assert isinstance(results, SegmentationResults)
            wrong = generator.random((20, 20)) < share
            results.update(np.where(wrong, 1 - truth, truth).astype(np.uint8), truth)
    drop = 100 * (merged(exact).compute()["miou"] - merged(other).compute()["miou"])
    interval = drop_interval("miou", exact, other, 10)
    assert interval is not None
    assert drop - 4 < interval[0] < drop < interval[1] < drop + 4


def test_chance_is_the_most_frequent_class_whatever_is_seen() -> None:
    images = ClassificationResults()
    images.update(np.eye(4, dtype=np.float32)[[0, 1, 1, 1]], np.array([0, 2, 2, 2]))
    constant = ClassificationResults()
    constant.update(np.eye(4, dtype=np.float32)[[2, 2, 2, 2]], np.array([0, 2, 2, 2]))
    for metric in ("top1", "balanced_accuracy"):
        assert score_of_chance(metric, images, 4) == constant.compute()[metric]


def test_chance_of_pixels_is_the_most_frequent_class_everywhere() -> None:
    truth = np.array([[0, 1, 1, 255], [2, 1, 1, 1]], np.uint8)
    pixels, constant = SegmentationResults(3), SegmentationResults(3)
    pixels.update(np.zeros_like(truth), truth)
    constant.update(np.ones_like(truth), truth)
    for metric in ("miou", "mean_accuracy", "pixel_accuracy"):
        assert score_of_chance(metric, pixels, 3) == pytest.approx(constant.compute()[metric])


@pytest.mark.parametrize(
    ("score", "images", "expected"), [(0.25, 1000, True), (0.27, 1000, True), (0.3, 1000, False), (0.75, 3, True)]
)
def test_chance_is_told_from_learning_within_two_standard_errors(score: float, images: int, expected: bool) -> None:
    assert is_chance(score, 0.25, images) == expected


def test_few_images_are_warned_of_and_the_interval_is_kept(
    colour_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_colours(tmp_path / "data", count=10)
    with caplog.at_level(logging.WARNING):
        report = quantize_bundle(colour_bundle, data, tmp_path / "int8", images=5)
    assert "5 training images to calibrate with" in caplog.text
    assert f"{report.images} validation images" in caplog.text
    assert report.interval is not None
    assert report.interval[0] < report.drop < report.interval[1]
    kept = read_manifest(tmp_path / "int8").model["quantization"]
    assert kept["interval"] == json.loads(json.dumps(report.interval))


def test_enough_images_are_not_warned_of(
    colour_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.deploy.quantize._ENOUGH", 3)
    data = write_colours(tmp_path / "data", count=10)
    with caplog.at_level(logging.WARNING, "convsmith.deploy.quantize"):
        quantize_bundle(colour_bundle, data, tmp_path / "int8", images=5)
    assert not [record for record in caplog.records if record.name == "convsmith.deploy.quantize"]


def test_a_model_at_chance_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_colours(tmp_path / "data", count=10)
    bundles = {"good": colour_model(), "ignorant": silent(colour_model())}
    for name, model in bundles.items():
        bundle = write_colour_bundle(tmp_path / name, model)
        words = ["quantize", bundle, "--data", data, "--method", "dynamic", "--out", tmp_path / f"{name}-int8"]
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        assert ("float is no better than chance" in printed) == (name == "ignorant")
        assert "points lost (95 %: " in printed


def silent(content: bytes) -> bytes:
    """The model with weights that say the first class, whatever it sees."""
    import onnx

    model = onnx.load_from_string(content)
    for tensor in model.graph.initializer:
        if tensor.name == "weights":
            weights = onnx.numpy_helper.to_array(tensor) * 0
            weights[:, 0] = 0.1
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    return bytes(model.SerializeToString())
