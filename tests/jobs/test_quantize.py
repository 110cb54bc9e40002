"""Quantization-aware training of a run's bundle, and which argument goes with which method."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

import convsmith as cs
from convsmith.analyze.same_images import check_same_images
from convsmith.bundle.format import read_manifest, read_model
from convsmith.cli.main import main
from convsmith.deploy.quantization import Quantization
from convsmith.deploy.static_int8 import kernels
from convsmith.jobs.qat import int8_recipe
from convsmith.recipe.schema import QuantizationAware
from convsmith.training.model_plan import build_model
from tests.colours import write_colour_bundle
from tests.exports import write_run
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.conftest import SMALL
from tests.training.scenes import scenes_recipe, write_scenes
from tests.training.tiny_model import name_tiny

TRICKS = (
    "distillation={teacher: {model: resnet18, weights: resnet18.tv_v1}}",
    "freeze={names: backbone, epochs: 3}",
    "ema={judged: false}",
    "early_stopping={patience: 3}",
    "mixing={mixup_alpha: 0.2, off_epochs: 5}",
    "schedule={name: cosine, epochs: 50, warmup_epochs: 5, min_lr: 0.01, extra: {epochs: 2, lr: 0.01}}",
    "eval_every=10",
    "loss.label_smoothing=0.1",
    "model.sync_batch_norm=true",
    "model.gradient_checkpointing=true",
    "compile=true",
)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny(monkeypatch)
    monkeypatch.setattr("convsmith.deploy.speed._SECONDS", 0.0)


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    """A float model that has learned something."""
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny", "schedule.epochs=12", "ema={decay: 0.5}"])
        return cs.train(recipe, digits, tmp_path_factory.mktemp("runs") / "float")


@pytest.fixture(scope="module")
def quantized(run: cs.Run, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Quantization]:
    out = tmp_path_factory.mktemp("int8") / "int8"
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        patch.setattr("convsmith.deploy.speed._SECONDS", 0.0)
        return out, cs.quantize(run.path, digits, out, ["schedule.epochs=2"], method="qat")


def test_training_gives_a_bundle_that_computes_on_integers(quantized: tuple[Path, Quantization]) -> None:
    out, _ = quantized
    found = kernels(read_model(out, read_manifest(out)))
    assert (found["QLinearConv"], found["QGemm"], found["Conv"], found["FusedConv"]) == (3, 1, 0, 0)


def test_training_holds_weights_to_what_any_x86_adds_exactly(quantized: tuple[Path, Quantization]) -> None:
    out, report = quantized
    model = onnx.load_from_string(read_model(out, read_manifest(out)))
    weights = [numpy_helper.to_array(t).astype(int) for t in model.graph.initializer if t.name.endswith("weight_q")]
    assert (report.target, max(np.abs(array).max() for array in weights)) == ("any-x86", 63)


def test_training_may_be_for_processors_with_exact_sums(run: cs.Run) -> None:
    assert int8_recipe(run.bundle).quantization_aware == QuantizationAware(target="any-x86")
    assert int8_recipe(run.bundle, target="arm").quantization_aware == QuantizationAware(target="arm")


def test_the_bundle_keeps_the_table(quantized: tuple[Path, Quantization]) -> None:
    out, report = quantized
    table = json.loads(json.dumps(report.to_dict()))
    assert read_manifest(out).model["quantization"] == {**table, "run": "int8-run"}  # not where the maker had it


def test_the_bundle_keeps_the_proof_of_its_training(quantized: tuple[Path, Quantization]) -> None:
    out, report = quantized
    assert report.run is not None
    assert read_manifest(out).parity == read_manifest(cs.Run(Path(report.run)).bundle).parity


def test_both_forms_are_judged_by_the_validation_images(
    quantized: tuple[Path, Quantization], run: cs.Run, digits: Path
) -> None:
    out, report = quantized
    right = [cs.evaluate(bundle, digits).top1 for bundle in (run.bundle, out)]
    assert [report.float_model.metrics["top1"], report.int8_model.metrics["top1"]] == right
    assert report.drop == pytest.approx(100 * (right[0] - right[1]))
    assert (report.metric, report.images, report.layers, report.float_layers) == ("top1", 20, 4, ())


def test_the_model_still_says_what_it_said_in_float(quantized: tuple[Path, Quantization]) -> None:
    _, report = quantized
    assert report.parity["snr_db"] > 0  # as another model would not have


def test_training_starts_from_the_weights_of_the_bundle(run: cs.Run) -> None:
    recipe = int8_recipe(run.bundle)
    model = build_model(recipe, recipe.model.weights)
    shipped = load_file(run.checkpoints / "best" / "ema.safetensors")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in shipped.items())


def test_the_same_command_trains_no_second_time(
    quantized: tuple[Path, Quantization], run: cs.Run, digits: Path
) -> None:
    out, report = quantized
    assert report.run is not None
    log = Path(report.run) / "metrics.jsonl"
    before, model = log.read_text(), read_model(out, read_manifest(out))
    cs.quantize(run.path, digits, out, ["schedule.epochs=2"], method="qat")
    assert log.read_text() == before
    assert read_model(out, read_manifest(out)) == model


def test_a_training_from_another_model_is_not_taken_for_this_ones(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    source = cs.Run(shutil.copytree(run.path, tmp_path / "run", symlinks=True))
    cs.quantize(source.path, digits, tmp_path / "int8", ["schedule.epochs=1"], method="qat")
    file = source.checkpoints / "best" / "ema.safetensors"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)
    with pytest.raises(cs.ConvsmithError, match="not those that this run began with"):
        cs.quantize(source.path, digits, tmp_path / "int8", ["schedule.epochs=1"], method="qat")


@pytest.mark.slow
def test_a_run_for_segmentation_is_judged_by_its_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny_segmenter(monkeypatch)
    data = write_scenes(tmp_path / "data")
    run = cs.train(scenes_recipe(tmp_path, "schedule.epochs=8"), data, tmp_path / "run")
    report = cs.quantize(run.path, data, tmp_path / "int8", method="qat")
    assert report.metric == "miou"
    assert report.int8_model.metrics["miou"] == cs.evaluate(tmp_path / "int8", data).miou


def test_the_command_trains_beside_the_bundle_and_prints_json(
    run: cs.Run, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.path, tmp_path / "run", symlinks=True)
    words = ["quantize", str(tmp_path / "run"), "--data", str(digits), "--method", "qat", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "optimizer.lr=0.001"])
    assert ended.value.code in (0, None)
    values = json.loads(capsys.readouterr().out)
    assert values["bundle"] == str(tmp_path / "run" / "bundle-int8")
    trained = cs.Run(tmp_path / "run" / "bundle-int8-run")
    assert values["run"] == str(trained.path)
    assert (trained.recipe.optimizer.lr, trained.recipe.schedule.epochs) == (0.001, 1)


def test_what_is_for_a_long_training_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "run", *TRICKS)
    recipe = int8_recipe(tmp_path / "run" / "bundle")
    left = (recipe.distillation, recipe.freeze, recipe.ema, recipe.early_stopping, recipe.mixing)
    assert left == (None, None, None, None, None)
    assert (
        recipe.schedule == cs.load_recipe("digits", ["schedule={name: cosine, epochs: 5, warmup_epochs: 0}"]).schedule
    )
    assert recipe.quantization_aware is not None


def test_what_the_model_learned_by_stays(tmp_path: Path) -> None:
    write_run(tmp_path / "run", *TRICKS)
    taught, recipe = cs.Run(tmp_path / "run").recipe, int8_recipe(tmp_path / "run" / "bundle")
    for section in ("task", "seed", "data", "augment", "preprocess", "batch", "loss", "sampling", "metric"):
        assert getattr(recipe, section) == getattr(taught, section), section
    assert recipe.optimizer == taught.optimizer.model_copy(update={"lr": 0.01 * taught.optimizer.lr})


def test_mixing_stays_if_the_run_ended_with_it(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "mixing={mixup_alpha: 0.2}")
    recipe = int8_recipe(tmp_path / "run" / "bundle")
    assert recipe.mixing == cs.Run(tmp_path / "run").recipe.mixing


def test_an_unknown_key_is_said(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with pytest.raises(cs.ConvsmithError, match=r"did you mean `schedule\.epochs`"):
        int8_recipe(tmp_path / "run" / "bundle", ["schedule.epoch=3"])


def test_a_bundle_without_a_run_cannot_be_trained(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle")
    with pytest.raises(cs.ConvsmithError, match=r"not in the directory of a run\nGive the run"):
        cs.quantize(bundle, tmp_path, tmp_path / "int8", method="qat")


def test_an_export_within_the_run_cannot_be_trained(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    write_colour_bundle(tmp_path / "run" / "export")
    with pytest.raises(cs.ConvsmithError, match="not in the directory of a run"):
        int8_recipe(tmp_path / "run" / "export")


def test_an_int8_bundle_is_not_trained_again(
    quantized: tuple[Path, Quantization], digits: Path, tmp_path: Path
) -> None:
    _, report = quantized
    assert report.run is not None
    with pytest.raises(cs.ConvsmithError, match="is INT8 already"):
        cs.quantize(report.run, digits, tmp_path / "int8", method="qat")


@pytest.mark.parametrize("word", ["preprocess.crop=8", "data.val_fraction=0.2", "eval=false"])
def test_what_chooses_the_images_of_the_table_must_stay(run: cs.Run, word: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=rf"{word.partition('=')[0]} must stay as"):
        int8_recipe(run.bundle, [word])


def test_the_masks_of_a_segmentation_must_stay(tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"data\.masks.* must stay as"):
        check_same_images(scenes_recipe(tmp_path, "data.masks.val=other"), scenes_recipe(tmp_path))


def test_the_rounding_must_stay(run: cs.Run) -> None:
    with pytest.raises(cs.ConvsmithError, match="quantization_aware must not be null"):
        int8_recipe(run.bundle, ["quantization_aware=null"])


def test_other_classes_are_said_before_the_training(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "data")
    for part in ("train", "val"):
        (tmp_path / "data" / part / "3").rename(tmp_path / "data" / part / "three")
    with pytest.raises(cs.ConvsmithError, match="has other classes than the bundle"):
        cs.quantize(run.path, tmp_path / "data", tmp_path / "int8", method="qat")
    assert not (tmp_path / "int8-run").exists()


def test_a_folder_in_the_way_is_said_before_the_training(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "notes.txt").touch()
    with pytest.raises(cs.ConvsmithError, match="holds something else than an export"):
        cs.quantize(run.path, digits, tmp_path / "int8", method="qat")
    assert not (tmp_path / "int8-run").exists()


@pytest.mark.parametrize("method", ["dynamic", "qat"])
def test_what_only_static_does_is_refused_with_another_method(run: cs.Run, tmp_path: Path, method: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=f"max_drop and seed cannot be set with the method {method}"):
        cs.quantize(run.path, tmp_path, tmp_path / "int8", method=method, max_drop=0.5, seed=0)  # type: ignore[arg-type]


def test_a_change_of_the_recipe_is_refused_where_nothing_is_trained(run: cs.Run, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"schedule\.epochs=3 changes a training"):
        cs.quantize(run.path, tmp_path, tmp_path / "int8", ["schedule.epochs=3"])


def test_a_run_stands_for_its_bundle(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    report = cs.quantize(run.path, digits, tmp_path / "int8", max_drop=100, images=8)
    assert (report.method, report.calibration_images, report.seed) == ("static", 8, 0)
