from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from convsmith.bundle.predictor import load
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.bundle import make_bundle
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.deploy.parity import FLOAT16, FLOAT32, INT8, Parity, Tolerance, images_to_compare, measure_parity
from convsmith.deploy.trained_int8 import TrainedInt8, export_int8
from convsmith.errors import ConvsmithError
from convsmith.models.fake_quant import train_for_int8
from convsmith.models.layers import Normalize
from convsmith.models.registry import create_model
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.spec import Preprocess
from tests.training.tiny_model import TinyNet

LABELS = tuple("abcdefghij")


def lively_model() -> nn.Module:
    """ResNet-20 with statistics as after training: every branch says something."""
    torch.manual_seed(0)
    model = create_model("cifar_resnet20")
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 32, 32))
    return model


def images(count: int = 8) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, 3, 32, 32), np.uint8))


def test_normalize_is_the_usual_formula() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    mean_C, std_C = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    expected = (images().float() / 255 - mean_C) / std_C
    torch.testing.assert_close(Normalize(mean, std)(images()), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("size", "count"), [((32, 32), 256), ((224, 224), 256), ((448, 448), 64), ((224, 448), 128), ((1024, 2048), 8)]
)
def test_an_export_is_proved_with_the_pixels_of_256_images_of_224x224_and_at_least_8(
    size: tuple[int, int], count: int
) -> None:
    assert images_to_compare("classification", size) == count


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (1024, 2048)])
def test_8_images_prove_an_export_whose_answers_are_the_classes_of_pixels(size: tuple[int, int]) -> None:
    assert images_to_compare("segmentation", size) == 8


def test_the_onnx_file_takes_any_batch_of_bytes_and_says_what_torch_says() -> None:
    exact = inference_model(lively_model(), Preprocess(resize=32, crop=32))
    runtime = OnnxRuntime(export_onnx(exact, (32, 32)))
    for batch in map(images, (1, 3, 5)):
        with torch.inference_mode():
            expected = exact(batch).numpy()
        np.testing.assert_allclose(runtime.run(batch.numpy()), expected, atol=1e-4)


def test_exporting_leaves_the_model_as_it_was() -> None:
    model = TinyNet().to(memory_format=torch.channels_last)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export_onnx(inference_model(model, Preprocess(resize=32, crop=32)), (32, 32))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_wrong_normalisation_is_caught_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Preprocess(resize=32, crop=32)
    wrong = Preprocess(resize=32, crop=32, mean=(0.5, 0.5, 0.5))
    monkeypatch.setattr(
        "convsmith.deploy.bundle.export_onnx",
        lambda model, size, any_size: export_onnx(inference_model(model.model, wrong), size, any_size),
    )
    recipe = load_recipe("digits").model_copy(update={"preprocess": right})
    with pytest.raises(ConvsmithError, match="does not say what the trained one says"):
        make_bundle(tmp_path / "bundle", TinyNet(), recipe, labels=LABELS, metrics={}, images=[images()])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_normalisation_of_a_model_trained_for_int8_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: nn.Module, recipe: Recipe) -> TrainedInt8:
        wrong = Preprocess(resize=32, crop=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
        return export_int8(inference_model(model.get_submodule("model"), wrong), recipe)

    monkeypatch.setattr("convsmith.deploy.bundle.export_int8", broken)
    torch.manual_seed(0)
    model = TinyNet()
    train_for_int8(model, (32, 32), 0.05)
    model(torch.randn(16, 3, 32, 32))
    recipe = load_recipe("digits").model_copy(update={"preprocess": Preprocess(resize=32, crop=32)})
    with pytest.raises(ConvsmithError, match="their logits differ by up to"):
        make_bundle(tmp_path / "bundle", model, recipe, labels=LABELS, metrics={}, images=[images()])
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_no_number_is_caught() -> None:
    exact = inference_model(lively_model(), Preprocess(resize=32, crop=32))
    with pytest.raises(ConvsmithError, match="differ by up to nan"):
        measure_parity(exact, lambda batch: np.full((len(batch), 10), np.nan, np.float32), [images()])


def test_a_model_whose_answers_are_not_finite_is_not_proved() -> None:
    model = TinyNet()
    nn.init.constant_(model.head.weight, 3e38)
    exact = inference_model(model, Preprocess(resize=32, crop=32))
    with pytest.raises(ConvsmithError, match="the trained model gives logits that are not finite numbers"):
        measure_parity(exact, lambda batch: np.zeros((len(batch), 10), np.float32), [images()])


CIFAR = load_recipe("cifar_resnet20-cifar10")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "bundle"
    make_bundle(folder, lively_model(), CIFAR, labels=LABELS, metrics={"top1": 0.5}, images=[images()])
    return folder


def test_a_bundles_onnx_file_says_what_it_is(bundle: Path) -> None:
    file = onnx.load(bundle / "model.onnx")
    said = {entry.key: entry.value for entry in file.metadata_props}
    assert tuple(json.loads(said["labels"])) == LABELS
    assert json.loads(said["preprocess"]) == CIFAR.preprocess.model_dump(mode="json")
    assert file.ir_version == 9
    batches = [value.type.tensor_type.shape.dim[0].dim_param for value in (*file.graph.input, *file.graph.output)]
    assert batches == ["batch", "batch"]


def test_a_bundle_states_the_parity_that_was_measured(bundle: Path) -> None:
    manifest = load(bundle).manifest
    assert manifest.parity["images"] == 8
    assert 0 <= manifest.parity["mean_abs_diff"] <= manifest.parity["max_abs_diff"] < 1e-3
    assert manifest.model == {"name": "cifar_resnet20", "options": {}, "params": 269722}
    assert manifest.metrics == {"top1": 0.5}


def logits_with_other_classes(count: int, changed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of `count` images, and others a hair apart that name another class for `changed` of them."""
    expected = np.tile(np.array([1.0, 1.0 - 1e-5], np.float32), (count, 1))
    exported = expected.copy()
    exported[:changed] = expected[:changed, ::-1]
    return expected, exported


@pytest.mark.parametrize(
    ("count", "changed", "enough"), [(500, 5, True), (500, 6, False), (10, 1, True), (10, 2, False)]
)
def test_float16_may_change_the_class_of_one_image_in_a_hundred(count: int, changed: int, enough: bool) -> None:
    parity = Parity()
    parity.add(*logits_with_other_classes(count, changed))
    assert parity.figures(Tolerance())["top1_agreement"] == 1 - changed / count
    if enough:
        parity.figures(FLOAT16)
    else:
        with pytest.raises(ConvsmithError, match=r"they agree on \d+\.\d+% of the answers, and 99\.00% is asked for"):
            parity.figures(FLOAT16)


def test_signal_to_noise_is_of_what_tells_classes_apart() -> None:
    parity = Parity()
    parity.add(np.array([[3.0, -1.0]], np.float32), np.array([[7.2, 3.0]], np.float32))  # 4.1 to all, 0.1 apart
    assert parity.distance()["snr_db"] == pytest.approx(20 * np.log10(2 / 0.1), abs=1e-3)


def test_equal_logits_are_200_db_above_the_noise() -> None:
    parity = Parity()
    parity.add(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32))
    assert parity.distance() == {"max_abs_diff": 0, "mean_abs_diff": 0, "snr_db": 200}


def test_small_logits_that_say_something_else_are_caught() -> None:
    parity = Parity()
    parity.add(np.float32(1e-5) * np.eye(3, dtype=np.float32), np.zeros((3, 3), np.float32))
    with pytest.raises(ConvsmithError, match=r"logits are 0\.0 dB above the noise, and 60 are asked for"):
        parity.figures(FLOAT32)


@pytest.mark.parametrize(
    ("wrong", "why"), [(-1.0, r"they agree on 0\.00% of the answers"), (1e30, "logits are -200.0 dB above the noise")]
)
def test_int8_that_is_more_noise_than_signal_is_caught(wrong: float, why: str) -> None:
    parity = Parity()
    parity.add(np.eye(3, dtype=np.float32), np.float32(wrong) * np.eye(3, dtype=np.float32))
    with pytest.raises(ConvsmithError, match=why):
        parity.figures(INT8)


def test_logits_of_another_shape_are_caught() -> None:
    with pytest.raises(ConvsmithError, match=r"it gives logits \(2, 4\) instead of \(2, 3\)"):
        Parity().add(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))
