"""Training for INT8: what is trained is what the bundle computes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import convsmith as cs
from convsmith.bundle.format import read_manifest, read_model
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.bundle import make_bundle
from convsmith.deploy.onnx_export import inference_model
from convsmith.deploy.parity import INT8, Tolerance, measure_parity
from convsmith.deploy.static_int8 import kernels
from convsmith.deploy.trained_int8 import TrainedInt8, export_int8
from convsmith.errors import ConvsmithError
from convsmith.models.fake_quant import round_weights, rounding_of, train_for_int8
from convsmith.models.layers import AdaptiveAverage
from convsmith.recipe.load import recipe_to_yaml
from convsmith.recipe.schema import QuantizationAware, Recipe
from convsmith.training.model_plan import build_model
from convsmith.training.run_weights import judged_weights, weights_of_run
from tests.tasks.tiny_segmenter import TinySegmenter
from tests.training.conftest import SMALL
from tests.training.scenes import scenes_recipe
from tests.training.tiny_model import TinyNet, name_tiny


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        int8 = ("model.name=tiny", "quantization_aware={}", "ema={decay: 0.5}", "schedule.epochs=2")
        recipe = cs.load_recipe("digits", [*SMALL, *int8])
        return cs.train(recipe, digits, tmp_path_factory.mktemp("runs") / "int8")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny(monkeypatch)


def images(count: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, 3, 16, 16), np.uint8))


def test_the_bundle_says_what_the_trained_model_says_within_a_level(run: cs.Run) -> None:
    manifest = read_manifest(run.bundle)
    content = read_model(run.bundle, manifest)
    model = build_model(run.recipe)
    best = run.checkpoints / "best"
    model.load_state_dict(load_file(best / f"{judged_weights(run.recipe, best)}.safetensors"))
    exact = inference_model(model, run.recipe.preprocess)
    with torch.inference_mode():
        expected = exact(images(20)).numpy()
    rounding = rounding_of(model)
    assert rounding is not None
    levels = (rounding.high - rounding.low) / 255
    step = float(
        levels[-1] * model.get_parameter("head.weight").detach().abs().sum(1).max()
    )  # each feature a level off
    assert np.abs(OnnxRuntime(content).run(images(20).numpy()) - expected).max() <= step
    assert manifest.parity["snr_db"] > 30
    assert manifest.model["quantization"] == {
        "method": "training",
        "target": "any-x86",
        "float_layers": [],
    }


def test_the_bundle_computes_on_integers_throughout(run: cs.Run) -> None:
    found = kernels(read_model(run.bundle, read_manifest(run.bundle)))
    assert (found["QLinearConv"], found["QGemm"], found["QLinearAdd"]) == (3, 1, 2)
    assert found["Conv"] == found["FusedConv"] == found["DequantizeLinear"] == 0


def test_a_float_model_starts_from_its_weights(run: cs.Run) -> None:
    model = build_model(cs.load_recipe("digits", [*SMALL, "model.name=tiny", "model.num_classes=4"]), str(run.path))
    trained = load_file(weights_of_run(run.path, "auto"))
    assert "rounding.low" in trained
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())


def test_gradients_pass_and_ranges_are_a_moving_average() -> None:
    torch.manual_seed(0)
    model = TinyNet(4)
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    train_for_int8(model, (16, 16), 0.25)
    assert {name for name in model.state_dict() if name not in plain} == {
        "rounding.low", "rounding.high", "rounding.batches"
    }  # fmt: skip
    first, second = (torch.randn(8, 3, 16, 16) * scale for scale in (1.0, 3.0))
    model(first).sum().backward()
    model(second)
    rounding = rounding_of(model)
    assert rounding is not None
    assert float(rounding.high[0]) == pytest.approx(0.75 * float(first.max()) + 0.25 * float(second.max()), rel=1e-5)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    before = rounding.high.clone()
    model.eval()(second)
    assert torch.equal(rounding.high, before)


def test_weights_have_a_scale_for_each_output_channel() -> None:
    weights = torch.randn(4, 3, 2, 2) * torch.tensor([1.0, 10.0, 0.1, 0.0]).view(4, 1, 1, 1)
    rounded = round_weights(weights, 127)
    scale = weights.abs().flatten(1).amax(1).clamp(min=1e-9).view(4, 1, 1, 1) / 127
    assert (rounded - weights).abs().div(scale).max() <= 0.5001
    assert (rounded / scale - (rounded / scale).round()).abs().max() < 1e-3


def test_a_model_that_calls_other_functions_in_training_is_refused() -> None:
    class Moody(TinyNet):
        def forward_features(self, x: Tensor) -> Tensor:
            return super().forward_features(torch.relu(x) if self.training else x)

    model = Moody(4)
    train_for_int8(model, (16, 16), 0.1)
    with pytest.raises(cs.ConvsmithError, match="cannot be trained for INT8"):
        model(torch.randn(2, 3, 16, 16))


@pytest.mark.parametrize(("target", "largest"), [("any-x86", 63), ("vnni", 127), ("arm", 127)])
def test_weights_are_rounded_to_what_the_target_adds_exactly(target: str, largest: int) -> None:
    model = build_model(cs.load_recipe("digits", [*SMALL, "model.name=tiny", f"quantization_aware.target={target}"]))
    rounding = rounding_of(model)
    assert rounding is not None
    assert rounding.largest == largest


def test_a_run_from_before_there_were_targets_goes_on_with_all_8_bits(tmp_path: Path) -> None:
    recipe = cs.load_recipe("digits", ["model.name=tiny", "quantization_aware.range_momentum=0.1"])
    lines = recipe_to_yaml(recipe).splitlines(keepends=True)
    (tmp_path / "recipe.yaml").write_text("".join(line for line in lines if "target:" not in line))
    rounding = cs.Run(tmp_path).recipe.quantization_aware
    assert rounding == QuantizationAware(range_momentum=0.1, target="vnni")


def test_a_target_that_cannot_be_proved_here_is_refused_before_the_training(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.processor.native_target", lambda: None)
    recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny", "quantization_aware.target=vnni"])
    with pytest.raises(cs.ConvsmithError, match="cannot be proved on this processor"):
        cs.train(recipe, digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["gradient_checkpointing", "sync_batch_norm"])
def test_what_does_not_go_together_is_said(key: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=f"quantization_aware cannot be had with model.{key}"):
        cs.load_recipe("digits", ["quantization_aware={}", f"model.{key}=true"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar_resnet20", "resnet50", "mobilenet_v2", "convnext_tiny", "resnest50"])
def test_every_family_trains_for_int8_and_leaves_no_layer_in_float(name: str) -> None:
    torch.manual_seed(0)
    recipe = cs.load_recipe("digits", [f"model.name={name}", "quantization_aware={}", "preprocess.resize=64"])
    recipe = recipe.model_copy(update={"preprocess": recipe.preprocess.model_copy(update={"crop": 64})})
    model = build_model(recipe)
    model.train()
    model(torch.randn(4, 3, 64, 64))
    assert export_int8(inference_model(model, recipe.preprocess), recipe).float_layers == []


class Pooled(TinySegmenter):
    """Adds to its features those of the means of areas, as UPerNet does."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__(num_classes)
        self.pool = AdaptiveAverage(3)
        self.conv3 = nn.Conv2d(16, 16, 1)

    def forward_features(self, x: Tensor) -> Tensor:
        features = super().forward_features(x)
        means = F.interpolate(torch.relu(self.conv3(self.pool(features))), features.shape[2:], mode="bilinear")
        return features + means


def test_means_of_areas_are_rounded_in_the_export_as_in_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, recipe = Pooled(), scenes_recipe(tmp_path)
    train_for_int8(model, (32, 32), 1.0)
    model(torch.randn(8, 3, 32, 32))
    exact = inference_model(model, recipe.preprocess)
    made = export_int8(exact, recipe)
    assert made.float_layers == []
    sizes = ((32, 32), (41, 50))
    images = [torch.from_numpy(np.random.RandomState(0).randint(0, 256, (2, 3, *size), np.uint8)) for size in sizes]
    assert measure_parity(exact, OnnxRuntime(made.content).run, images, INT8)["snr_db"] > 20


def test_a_model_that_any_rounding_moves_far_is_packed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack_untrained(tmp_path)
    assert "learned too little for INT8" in caplog.text
    assert read_manifest(tmp_path / "bundle").parity["snr_db"] > 10


def test_an_int8_file_farther_from_its_model_than_rounding_takes_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_model(model: nn.Module, recipe: Recipe) -> TrainedInt8:
        other = copy.deepcopy(model)
        other.get_parameter("model.head.weight").detach().neg_()
        return replace(export_int8(model, recipe), content=export_int8(other, recipe).content)

    monkeypatch.setattr("convsmith.deploy.bundle.export_int8", of_another_model)
    with pytest.raises(ConvsmithError, match="does not say what the trained one says"):
        pack_untrained(tmp_path)


def pack_untrained(folder: Path) -> None:
    """Pack a tiny network under a tolerance that no rounding keeps."""
    torch.manual_seed(0)
    recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny", "model.num_classes=4", "quantization_aware={}"])
    model = build_model(recipe)
    model(torch.randn(8, 3, 16, 16))
    strict = Tolerance(agreement=1.0, snr_db=150.0)
    labels, batch = ("a", "b", "c", "d"), images(20)
    make_bundle(folder / "bundle", model, recipe, labels=labels, metrics={}, images=[batch], int8_tolerance=strict)
