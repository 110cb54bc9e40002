"""Several labels to an image, from a table over the training to every use of the bundle."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest

import convsmith as cs
from convsmith.bundle.figures.multilabel_metrics import FIGURES
from convsmith.bundle.format import read_manifest, read_model
from convsmith.bundle.tasks.multilabel import LabelsAnswer
from convsmith.cli.main import main
from convsmith.serve.app import create_app
from tests.serve.running import PATIENCE, served
from tests.training.conftest import SMALL
from tests.training.mosaics import CLASSES, write_mosaics
from tests.training.test_interrupted import assert_same_run
from tests.training.test_resume_with_tricks import Killed, Killer

RECIPE = (
    *SMALL,
    "task=multilabel",
    "model.name=tiny",
    "batch.per_device=4",
    "schedule.epochs=2",
    "ema={decay: 0.5, judge: both}",
    "mixing={mixup_alpha: 0.2, cutmix_alpha: 1.0}",
    "loss={name: asymmetric, positive_weights: counts, label_smoothing: 0.1}",
    "checkpoint.every_steps=2",
)
NAMES = tuple(f"digit {digit}" for digit in range(CLASSES))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mosaics(tmp_path_factory.mktemp("mosaics"))


@pytest.fixture(scope="module")
def run(table: Path, tiny: None, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    return cs.train(cs.load_recipe("digits", RECIPE), table, tmp_path_factory.mktemp("runs") / "straight")


@pytest.fixture(scope="module")
def bundle(run: cs.Run) -> cs.Bundle[cs.Multilabel]:
    return cs.load(run.bundle)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command prints that ends well."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def test_the_bundle_keeps_the_thresholds_that_its_figures_were_measured_with(run: cs.Run, table: Path) -> None:
    manifest, report = read_manifest(run.bundle), cs.evaluate(run.bundle, table)
    assert (manifest.task, manifest.labels, report.held_out) == ("multilabel", NAMES, True)
    assert manifest.thresholds == report.threshold
    assert manifest.thresholds != (0.5,) * CLASSES
    names = (*FIGURES, "loss")
    assert [manifest.metrics[name] for name in names] == pytest.approx(
        [report.figures[name] for name in names], abs=1e-6
    )


def test_thresholds_are_those_of_the_weights_that_are_shipped(run: cs.Run) -> None:
    best = max((line for line in run.metrics if line["split"] == "val"), key=lambda line: line["map_macro"])
    metrics = read_manifest(run.bundle).metrics
    assert metrics["f1_macro"] == best["f1_macro"] == max(best["ema_f1_macro"], best["model_f1_macro"]) or (
        metrics["map_macro"] == max(best["ema_map_macro"], best["model_map_macro"])
    )


def test_the_onnx_file_says_the_thresholds_to_other_programs(run: cs.Run) -> None:
    manifest = read_manifest(run.bundle)
    props = {it.key: it.value for it in onnx.load_from_string(read_model(run.bundle, manifest)).metadata_props}
    assert tuple(json.loads(props["thresholds"])) == manifest.thresholds


def test_predict_says_the_labels_that_reach_the_bundles_thresholds(
    bundle: cs.Bundle[cs.Multilabel], table: Path
) -> None:
    assert bundle.manifest.thresholds is not None
    answers = [bundle.predict(path) for path in sorted(table.parent.glob("*.png"))]
    for answer in answers:
        reached = np.flatnonzero(answer.probabilities >= bundle.manifest.thresholds)
        assert sorted(answer.class_ids) == reached.tolist()
        assert [it.label for it in answer.labels] == [NAMES[i] for i in answer.class_ids]
    assert {len(answer.labels) for answer in answers} - {1}  # else it would be a classification


def test_the_server_says_what_predict_says(bundle: cs.Bundle[cs.Multilabel], run: cs.Run, table: Path) -> None:
    image = table.parent / "000.png"
    with served(create_app(run.bundle)) as (_, url), httpx.Client(timeout=PATIENCE) as client:
        said = client.post(f"{url}/predict?top=2", files={"image": ("a.png", image.read_bytes())})
        schema = client.get(f"{url}/openapi.json").json()["components"]["schemas"]
    answer = said.json()
    assert said.status_code == 200
    assert LabelsAnswer.model_validate(answer)
    assert len(answer["top"]) == 2
    assert answer["labels"] == bundle.predict(image).to_dict()["labels"]
    assert "LabelsAnswer" in schema


def test_the_command_prints_each_image_with_its_labels(
    run: cs.Run, table: Path, bundle: cs.Bundle[cs.Multilabel], capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(path) for path in sorted(table.parent.glob("*.png"))[:6]]
    answers = [bundle.predict(image) for image in images]
    lines = said(capsys, "predict", run.bundle, *images).splitlines()
    for line, image, answer in zip(lines, images, answers, strict=True):
        told = ", ".join(f"{it.score:.2%} {it.label}" for it in answer.labels) or "no label"
        assert line == f"{image}  {told}"
    rows = list(csv.DictReader(io.StringIO(said(capsys, "predict", run.bundle, *images, "--format", "csv"))))
    assert {row["path"] for row in rows} == set(images)
    assert [row["label"] for row in rows if row["path"] == images[0]] == [it.label for it in answers[0].labels] or [""]


def test_evaluate_prints_means_and_the_figures_of_each_class(
    run: cs.Run, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, "evaluate", run.path, "--data", table)
    assert all(word in out for word in ("mAP", "micro F1", "subset accuracy", "threshold", *NAMES))


def test_int8_keeps_the_thresholds_and_is_judged_by_the_recipes_metric(
    run: cs.Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.deploy.speed._SECONDS", 0.0)
    report = cs.quantize(run.bundle, table, tmp_path / "int8", max_drop=100)
    int8 = read_manifest(tmp_path / "int8")
    assert int8.thresholds == read_manifest(run.bundle).thresholds
    assert report.metric == "map_macro"
    figures = cs.evaluate(tmp_path / "int8", table).figures
    assert int8.metrics == pytest.approx({name: figures[name] for name in int8.metrics}, abs=1e-6)


def test_an_export_says_what_the_run_says(run: cs.Run, table: Path, tmp_path: Path) -> None:
    made = cs.export(run.path, "torchscript", tmp_path / "exported", table)
    assert read_manifest(tmp_path / "exported").thresholds == read_manifest(run.bundle).thresholds
    assert made["parity"]["map_macro"] == pytest.approx(made["parity"]["trained_map_macro"], abs=1e-6)


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(run: cs.Run, table: Path, tmp_path: Path) -> None:
    recipe = cs.load_recipe("digits", RECIPE)
    with pytest.raises(Killed):
        cs.train(recipe, table, tmp_path / "run", observers=[Killer(9)])
    cs.train(cs.load_recipe("digits", [*RECIPE, "data.workers=2"]), table, tmp_path / "run")
    assert_same_run(run.path, tmp_path / "run")
    assert read_manifest(tmp_path / "run" / "bundle").thresholds == read_manifest(run.bundle).thresholds


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["logits", "hard", "features"])
def test_a_student_learns_from_a_teacher_of_several_labels(run: cs.Run, table: Path, tmp_path: Path, kind: str) -> None:
    weights = run.path / "checkpoints" / "best" / "model.safetensors"
    source = f"distillation={{teacher: {{model: tiny, weights: {weights}}}, kind: {kind}}}"
    student = cs.train(cs.load_recipe("digits", [*RECIPE, "schedule.epochs=1", source]), table, tmp_path / "student")
    assert read_manifest(student.bundle).thresholds is not None


@pytest.mark.slow
def test_training_for_int8_ends_in_a_bundle_with_thresholds(table: Path, tmp_path: Path, tiny: None) -> None:
    words = [*RECIPE, "ema=null", "schedule.epochs=1", "quantization_aware={}"]
    run = cs.train(cs.load_recipe("digits", words), table, tmp_path / "run")
    assert read_manifest(run.bundle).thresholds is not None


def test_without_validation_images_one_half_counts(table: Path, tmp_path: Path, tiny: None) -> None:
    words = [*RECIPE, "ema=null", "schedule.epochs=1", "eval=false"]
    run = cs.train(cs.load_recipe("digits", words), table, tmp_path / "run")
    answer: Any = cs.load(run.bundle).predict(table.parent / "000.png")
    assert read_manifest(run.bundle).thresholds is None
    assert answer.thresholds.tolist() == [0.5] * CLASSES
