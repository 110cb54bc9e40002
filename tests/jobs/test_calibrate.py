"""Calibrating real bundles on real files: what is written, what is measured, and that every use of a bundle agrees."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import convsmith as cs
from convsmith.analyze.calibration_report import CalibrationReport
from convsmith.bundle.format import MANIFEST, MODEL, read_manifest, read_model
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.reference import Reference, histogram
from convsmith.cli.main import main
from convsmith.data.open_data import judged_by
from convsmith.deploy.labelled import LabelledImages
from convsmith.deploy.trial import pixel_errors
from convsmith.errors import ConvsmithError
from convsmith.jobs.calibrate import _dealt, calibrate
from convsmith.spec import WholeImage, Window
from tests.colours import LABELS, colour_model, picture, write_colour_bundle
from tests.noisy_colours import TEMPERATURE, write_noisy_colours, write_noisy_labels, write_noisy_masks
from tests.stripes import write_pixel_bundle

COUNT = 200


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noisy_colours(tmp_path_factory.mktemp("data") / "noisy", COUNT)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_colour_bundle(tmp_path / "bundle")


@pytest.fixture(scope="module")
def decided(data: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationReport:
    """A bundle with all that there is."""
    bundle = write_colour_bundle(tmp_path_factory.mktemp("decided") / "bundle")
    return calibrate(bundle, data, coverage=0.9, precision=0.7)


def test_the_temperature_is_the_one_that_the_images_were_drawn_by(decided: CalibrationReport) -> None:
    assert 1 / decided.calibration.weights[0] == pytest.approx(TEMPERATURE, rel=0.15)


def test_the_calibration_error_falls_on_images_kept_back(decided: CalibrationReport) -> None:
    before, after = decided.calibration.measured["before"], decided.calibration.measured["after"]
    assert after["ece"] < before["ece"]
    assert after["loss"] < before["loss"]
    assert after["accuracy"] == before["accuracy"]


def test_evaluate_measures_the_probabilities_that_predict_gives(
    decided: CalibrationReport, data: Path, bundle: Path
) -> None:
    before, after = cs.evaluate(bundle, data), cs.evaluate(decided.bundle, data)
    assert after.ece < before.ece - 0.03
    assert (after.top1, after.confusion) == (before.top1, before.confusion)
    loaded: cs.Bundle[cs.Classification] = cs.load(decided.bundle)
    scores = [
        -np.log(loaded.predict(path).probabilities[k])
        for k, label in enumerate(LABELS)
        for path in sorted((data / label).iterdir())
    ]
    assert after.loss == pytest.approx(np.mean(scores), abs=1e-9)


def test_evaluate_measures_sets_and_unknown_on_other_images(decided: CalibrationReport, tmp_path: Path) -> None:
    others = write_noisy_colours(tmp_path / "others", 40, seed=2)
    report = cs.evaluate(decided.bundle, others)
    pairs = [(path.parent.name, answers_of(decided, [path])[0]) for path in sorted(others.rglob("*.png"))]
    known = [it.label == true for true, it in pairs if not it.unknown]
    held = [true in [it.label for it in answer.set or ()] for true, answer in pairs]
    assert report.set_coverage == pytest.approx(np.mean(held))
    assert report.set_size == pytest.approx(np.mean([len(it.set or ()) for _, it in pairs]))
    assert report.unknown == pytest.approx(1 - len(known) / len(pairs))
    assert report.known_right == pytest.approx(np.mean(known))
    assert report.intervals["set_coverage"][0] < report.set_coverage < report.intervals["set_coverage"][1]
    assert f"sets hold {report.set_coverage:.2%}" in str(report)
    assert f"unknown {report.unknown:.2%}" in str(report)


def test_a_bundle_without_decisions_has_no_figures_of_them(bundle: Path, tmp_path: Path) -> None:
    report = cs.evaluate(bundle, write_noisy_colours(tmp_path / "few", 3))
    assert not {"set_coverage", "set_size", "unknown", "known_right"} & set(report.figures)


def test_the_same_images_are_kept_back_each_time_and_as_many_of_each_class(
    decided: CalibrationReport, bundle: Path, data: Path
) -> None:
    assert decided.calibration.images == {"scaling": COUNT, "thresholds": COUNT, "kept_back": COUNT}
    again = calibrate(bundle, data, coverage=0.9, precision=0.7)
    assert again.calibration == decided.calibration
    dealt = _dealt(np.repeat([0, 1, 2], [31, 60, 2]), 3)
    assert all(
        np.ptp(np.bincount(dealt[first:last], minlength=3)) <= 1 for first, last in ((0, 31), (31, 91), (91, 93))
    )


def answers_of(report: CalibrationReport, paths: list[Path]) -> list[cs.Classification]:
    loaded: cs.Bundle[cs.Classification] = cs.load(report.bundle)
    return [loaded.predict(path) for path in paths]


def test_sets_cover_what_was_asked_for_on_other_images(decided: CalibrationReport, tmp_path: Path) -> None:
    others = write_noisy_colours(tmp_path / "others", 100, seed=1)
    for label in LABELS:
        answers = answers_of(decided, sorted((others / label).iterdir()))
        held = sum(label in [it.label for it in answer.set or ()] for answer in answers)
        assert held >= 90 - 3 * 3 - 6  # of 100, by an own threshold that 67 images set


def test_what_is_measured_of_sets_is_what_predict_answers(decided: CalibrationReport, data: Path) -> None:
    found = decided.calibration.measured
    paths = [path for label in LABELS for path in sorted((data / label).iterdir())]
    part = _dealt(np.repeat([0, 1, 2], COUNT), 3)
    kept = [path for path, own in zip(paths, part, strict=True) if own == 2]
    answers = answers_of(decided, kept)
    sizes = [len(answer.set or ()) for answer in answers]
    held = [
        path.parent.name in [it.label for it in answer.set or ()] for path, answer in zip(kept, answers, strict=True)
    ]
    known = [path.parent.name == it.label for path, it in zip(kept, answers, strict=True) if not it.unknown]
    assert found["sets"]["mean_size"] == pytest.approx(np.mean(sizes))
    assert found["sets"]["coverage"] == pytest.approx(np.mean(held))
    assert (found["unknown"]["answered"], found["unknown"]["precision"]) == (len(known), pytest.approx(np.mean(known)))


def test_in_place_the_model_and_its_proof_stay_as_they_are(bundle: Path, data: Path) -> None:
    before, model = read_manifest(bundle), (bundle / MODEL).stat()
    (bundle / "notes.txt").write_text("mine")
    calibrate(bundle, data)
    after = read_manifest(bundle)
    assert (bundle / MODEL).stat().st_mtime_ns == model.st_mtime_ns
    assert (after.files, after.parity, after.metrics) == (before.files, before.parity, before.metrics)
    assert (bundle / "notes.txt").read_text() == "mine"


def test_with_out_the_bundle_itself_stays_as_it_is(bundle: Path, data: Path, tmp_path: Path) -> None:
    before = (bundle / MANIFEST).read_bytes()
    report = calibrate(bundle, data, tmp_path / "careful")
    assert (bundle / MANIFEST).read_bytes() == before
    assert report.bundle == str(tmp_path / "careful")
    assert read_manifest(tmp_path / "careful").calibration == report.calibration
    assert (tmp_path / "careful" / MODEL).read_bytes() == (bundle / MODEL).read_bytes()


def test_a_calibrated_bundle_is_calibrated_anew_from_its_models_own_logits(bundle: Path, data: Path) -> None:
    first = calibrate(bundle, data, method="vector", coverage=0.9)
    second = calibrate(bundle, data, coverage=0.9)
    assert second.calibration.measured["before"] == first.calibration.measured["before"]
    assert second.calibration.bias is None


def test_a_run_is_calibrated_in_its_bundle(tmp_path: Path, data: Path) -> None:
    write_colour_bundle(tmp_path / "run" / "bundle")
    assert calibrate(tmp_path / "run", data).bundle == str(tmp_path / "run" / "bundle")
    assert read_manifest(tmp_path / "run" / "bundle").calibration is not None


def test_numbers_of_each_class_undo_what_differs_between_classes(tmp_path: Path, data: Path) -> None:
    """A model that prefers red: a temperature cannot mend that, two numbers for each class can."""

    def skewed() -> bytes:
        import onnx
        from onnx import helper, numpy_helper

        proto = onnx.load_from_string(colour_model())
        proto.graph.node[-1].output[0] = "even"
        proto.graph.initializer.append(numpy_helper.from_array(np.array([3, 0, 0], np.float32), "more"))
        proto.graph.node.append(helper.make_node("Add", ["even", "more"], ["logits"]))
        content: bytes = proto.SerializeToString()
        return content

    found = {}
    method: Literal["temperature", "vector"]
    for method in ("temperature", "vector"):
        bundle = write_colour_bundle(tmp_path / method, skewed())
        found[method] = calibrate(bundle, data, method=method).calibration.measured
    assert found["temperature"]["after"]["accuracy"] == found["temperature"]["before"]["accuracy"]
    assert found["vector"]["after"]["accuracy"] > found["vector"]["before"]["accuracy"] + 0.1
    assert found["vector"]["after"]["loss"] < found["temperature"]["after"]["loss"] - 0.1


def test_costs_need_no_part_of_the_images_and_lower_the_cost(bundle: Path, data: Path) -> None:
    report = calibrate(bundle, data, cost_wrong=5, cost_unknown=1)
    assert set(report.calibration.images) == {"scaling", "kept_back"}
    assert report.calibration.unknown is not None
    assert report.calibration.unknown.threshold == pytest.approx(0.8)
    found = report.calibration.measured["unknown"]
    assert found["cost"] < found["cost_of_always_answering"]


def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test fail where the model is asked about images."""
    opened = Bundle.logits

    def refuse(self: Bundle[Any], images: np.ndarray) -> np.ndarray:
        assert not images.any(), "the model was asked"
        return opened(self, images)

    monkeypatch.setattr(Bundle, "logits", refuse)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"coverage": 0.999}, "600 images cannot calibrate the bundle so: 3 parts .* each needs 999 images"),
        ({"precision": 0.999}, "each needs 3,?218 images: as many right answers show the precision with 95% certainty"),
        ({"coverage": 1.0}, "coverage is 1: it is a share between 0 and 1"),
        ({"coverage": 95}, "coverage is 95"),
        ({"precision": 0.0}, "precision is 0"),
        ({"cost_wrong": 5.0}, "one cost alone decides nothing"),
        ({"cost_wrong": 1.0, "cost_unknown": 2.0}, "decide nothing"),
        ({"precision": 0.9, "cost_wrong": 5.0, "cost_unknown": 1.0}, "exclude each other"),
    ],
)
def test_what_cannot_be_is_said_before_any_image_is_read(
    bundle: Path, data: Path, asked: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent(monkeypatch)
    with pytest.raises(ConvsmithError, match=message):
        calibrate(bundle, data, **asked)


def test_a_class_without_images_is_named(
    bundle: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(data, tmp_path / "two", ignore=shutil.ignore_patterns("blue"))
    report = calibrate(bundle, tmp_path / "two", coverage=0.9)
    assert "no image has the classes `blue`" in caplog.text
    assert report.calibration.sets is not None
    assert report.calibration.sets.shared == (2,)
    assert "but for `blue`" in str(report)
    with pytest.raises(ConvsmithError, match="vector scaling needs images of each class: there are too few of `blue`"):
        calibrate(bundle, tmp_path / "two", method="vector")


def test_images_that_training_saw_are_warned_of(tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    calibrate(write_colour_bundle(tmp_path / "b", data_digest="0" * 64), data)
    assert "some that the bundle was trained on" in caplog.text


def test_few_images_are_warned_of(bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calibrate(bundle, write_noisy_colours(tmp_path / "few", 20))
    assert "30 images for" in caplog.text
    assert "hardly known" in caplog.text


def test_a_model_that_is_always_right_is_not_scaled(bundle: Path, tmp_path: Path) -> None:
    for label in LABELS:
        (tmp_path / "sure" / label).mkdir(parents=True)
        for number in range(9):
            (tmp_path / "sure" / label / f"{number}.png").write_bytes(picture(label, size=(8, 8 + number)))
    report = calibrate(bundle, tmp_path / "sure", coverage=0.8)
    assert report.calibration.weights == (1.0,)
    assert "nothing is scaled" in str(report)


def test_an_image_that_cannot_be_read_is_left_out_and_named(
    bundle: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "red" / "0000.png").write_bytes(b"no image")
    report = calibrate(bundle, tmp_path / "data")
    assert sum(report.calibration.images.values()) == 3 * COUNT - 1
    assert "0000.png" in caplog.text


def test_data_without_an_image_that_can_be_read_say_why(bundle: Path, tmp_path: Path) -> None:
    for label in LABELS:
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "a.png").write_bytes(b"no image")
    with pytest.raises(ConvsmithError, match=r"no image of the data can be judged: cannot read .*a\.png"):
        calibrate(bundle, tmp_path / "data")


def test_several_labels_have_sets_and_the_same_decisions(tmp_path: Path) -> None:
    table = write_noisy_labels(tmp_path, 600)
    logits = (np.log([0.9, 0.5, 0.7]) - np.log([0.1, 0.5, 0.3])).tolist()
    thresholds = tuple((1 / (1 + np.exp(-np.array(logits) - 12.05))).tolist())  # between tenths of colours
    bundle = write_colour_bundle(tmp_path / "b", task="multilabel", thresholds=thresholds)
    before = cs.evaluate(bundle, table)
    report = calibrate(bundle, table, method="vector", coverage=0.9)
    after, found = cs.evaluate(bundle, table), report.calibration.measured
    assert found["after"]["ece"] < found["before"]["ece"] / 3
    assert (after.confusion, after.f1_macro) == (before.confusion, before.f1_macro)
    assert after.loss < before.loss / 2
    assert found["sets"]["coverage"] >= 0.9 - 3 * np.sqrt(0.09 / found["sets"]["true"]) - 0.02
    assert read_manifest(bundle).thresholds == thresholds
    with pytest.raises(ConvsmithError, match="no single class that might be unknown"):
        calibrate(bundle, table, precision=0.9)


def test_masks_are_calibrated_by_their_pixels(tmp_path: Path) -> None:
    data = write_noisy_masks(tmp_path / "data", 40)
    bundle = write_pixel_bundle(tmp_path / "b")
    report = calibrate(bundle, data)
    assert 1 / report.calibration.weights[0] == pytest.approx(TEMPERATURE, rel=0.15)
    found = report.calibration.measured
    assert found["after"]["ece"] < found["before"]["ece"] / 2
    assert found["after"]["accuracy"] == found["before"]["accuracy"]
    manifest = read_manifest(bundle).without_calibration()
    images = LabelledImages(manifest, judged_by(manifest, data).samples)
    (error,) = pixel_errors(manifest, [read_model(bundle, manifest)], images, lambda *_: None)
    assert error == pytest.approx(found["before"]["ece"], abs=0.03)  # that is of a third of the images
    with pytest.raises(ConvsmithError, match="says no sets"):
        calibrate(bundle, data, coverage=0.9)


def test_masks_seen_by_windows_are_calibrated_by_the_same_scores(tmp_path: Path) -> None:
    """Where windows do not overlap, they show what one look at all would."""
    data, found = write_noisy_masks(tmp_path / "data", 4), []
    for name, window in (("whole", None), ("windows", Window(size=(16, 16), stride=(16, 16)))):
        spec = WholeImage(method="whole", window=window)
        found.append(calibrate(write_pixel_bundle(tmp_path / name, preprocess=spec), data).calibration)
    assert found[0].weights == pytest.approx(found[1].weights, rel=1e-5)
    assert found[0].measured["after"]["ece"] == pytest.approx(found[1].measured["after"]["ece"], abs=1e-5)


def test_an_export_keeps_it(decided: CalibrationReport, data: Path, tmp_path: Path) -> None:
    cs.export(decided.bundle, "onnx-fp16", tmp_path / "half", data, images=9)
    assert read_manifest(tmp_path / "half").calibration == decided.calibration


def test_the_command_prints_and_gives_json(
    bundle: Path, data: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    words = ["calibrate", str(bundle), "--data", str(data), "--coverage", "0.9", "--precision", "0.7"]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert not ended.value.code
    *lines, last = capsys.readouterr().out.splitlines()
    said = json.loads(last)
    assert said["sets"]["coverage"] == 0.9
    assert said["measured"]["after"]["ece"] < said["measured"]["before"]["ece"]
    text = "\n".join(lines)
    assert f"temperature {1 / said['weights'][0]:.4f}, by 200 images" in text
    assert f"sets hold {said['measured']['sets']['coverage']:.2%}" in text
    assert "90.00% asked for" in text
    assert f"bundle: {bundle}" in text


def test_a_bundle_on_the_hub_is_not_changed_where_it_lies(data: Path) -> None:
    with pytest.raises(ConvsmithError, match="is not changed where it lies"):
        calibrate("hf:org/name", data)


def test_later_images_are_held_against_the_new_confidence(data: Path, tmp_path: Path) -> None:
    reference = Reference(images=500, classes=(300.0, 100.0, 100.0), confidence=histogram(np.linspace(0, 1, 500)))
    bundle = write_colour_bundle(tmp_path / "bundle", reference=reference)
    calibrate(bundle, data)
    loaded: cs.Bundle[cs.Classification] = cs.load(bundle)
    scores = [loaded.predict(path).score for path in sorted(data.rglob("*.png"))]
    assert loaded.manifest.reference == reference.with_confidence(scores)
