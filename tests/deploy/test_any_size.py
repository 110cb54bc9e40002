"""One ONNX file of a segmentation model takes images of any size, and says of each what torch says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.bundle.segmentation import Segmentation
from convsmith.deploy.bundle import make_bundle
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.deploy.parity import TOLERANCE, Tolerance, measure_parity
from convsmith.errors import ConvsmithError
from convsmith.models.base import StagedClassifier, VisionModel
from convsmith.models.checkpointing import Blocks
from convsmith.models.decoder import Decoded
from convsmith.models.families.convnext import ConvNeXt
from convsmith.models.families.fcn import FCN
from convsmith.models.families.hrnet import HighResolutionModule
from convsmith.models.families.hrnet_seg import HRNetOCR, HRNetSegmentation
from convsmith.models.families.resnest import ResNeSt
from convsmith.models.families.resnet import BasicBlock, ResNet
from convsmith.models.families.upernet import UPerNet
from convsmith.recipe.load import load_recipe
from convsmith.spec import WholeImage
from tests.models.golden import filled_state_dict
from tests.tasks.tiny_segmenter import TinySegmenter

SPEC = WholeImage(method="whole")
CLASSES = 5


def hrnet(build: type[HRNetSegmentation] | type[HRNetOCR], num_classes: int) -> VisionModel:
    """With one block in each branch, and one module in each stage."""
    model = build(8, num_classes)
    for name in ("layer1", "stage2", "stage3", "stage4"):
        block = model.get_submodule(f"{name}.0")
        if isinstance(block, HighResolutionModule):
            block.branches = nn.ModuleList(nn.Sequential(branch.get_submodule("0")) for branch in block.branches)
        model.add_module(name, Blocks(block))
    return model


def upernet(family: type[StagedClassifier], *shape: Any) -> Callable[..., VisionModel]:
    return partial(Decoded(UPerNet, partial(family, *shape), family), channels=8)


FAMILIES: dict[str, Callable[..., VisionModel]] = {
    "hrnet": partial(hrnet, HRNetSegmentation),
    "hrnet-ocr": partial(hrnet, HRNetOCR),
    "resnet-fcn": Decoded(FCN, partial(ResNet, BasicBlock, (1, 1, 1, 1)), ResNet),
    "resnet-upernet": upernet(ResNet, BasicBlock, (1, 1, 1, 1)),
    "convnext-upernet": upernet(ConvNeXt, (1, 1, 1, 1), (8, 16, 24, 32)),
    "resnest-upernet": upernet(ResNeSt, (1, 1, 1, 1)),
}
QUICK = {"resnet-fcn"}  # the others take longer; what any size means is tried with the tiny model
SIZES = [(1, 64, 64), (2, 66, 98), (1, 33, 47), (2, 71, 40), (1, 128, 37), (1, 97, 130)]


def live(build: Callable[..., VisionModel]) -> VisionModel:
    """A model with no branch near zero, so that an error in any of them shows."""
    model = build(num_classes=CLASSES)
    model.load_state_dict(filled_state_dict([(key, list(value.shape)) for key, value in model.state_dict().items()]))
    return model


def images(count: int, height: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(height * width).randint(0, 256, (count, 3, height, width), np.uint8))


def exported(model: nn.Module) -> tuple[nn.Module, OnnxRuntime]:
    exact = inference_model(model, SPEC)
    return exact, OnnxRuntime(export_onnx(exact, (64, 64), any_size=True))


@torch.inference_mode()
def assert_agree(exact: nn.Module, runtime: OnnxRuntime, batch: Tensor) -> None:
    expected, answer = exact(batch).numpy(), runtime.run(batch.numpy())
    assert answer.shape == (len(batch), CLASSES, *batch.shape[2:])
    largest = np.abs(expected).max()
    assert largest > 0.01
    assert np.abs(answer - expected).max() <= TOLERANCE * largest


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in FAMILIES]
)
def test_the_exported_model_says_what_torch_says_of_images_of_any_size(family: str) -> None:
    exact, runtime = exported(live(FAMILIES[family]))
    for size in SIZES:
        assert_agree(exact, runtime, images(*size))


@pytest.fixture(scope="module")
def tiny() -> tuple[nn.Module, OnnxRuntime]:
    """A model of two convolutions, and its export."""
    return exported(live(TinySegmenter))


@settings(max_examples=30)
@given(count=st.integers(1, 3), height=st.integers(1, 90), width=st.integers(1, 90))
def test_any_number_of_images_of_any_size_agree(
    tiny: tuple[nn.Module, OnnxRuntime], count: int, height: int, width: int
) -> None:
    assert_agree(*tiny, images(count, height, width))


@pytest.mark.parametrize("opset", [12, 18])
def test_axes_that_are_free_have_names(opset: int) -> None:
    file = onnx.load_from_string(export_onnx(inference_model(live(TinySegmenter), SPEC), (24, 40), True, opset))
    assert [it.version for it in file.opset_import if not it.domain] == [opset]
    for value in (file.graph.input[0], file.graph.output[0]):
        names = [dimension.dim_param for dimension in value.type.tensor_type.shape.dim]
        assert (names[0], *names[2:]) == ("batch", "height", "width")


def test_an_old_opset_takes_any_size_too() -> None:
    exact = inference_model(live(TinySegmenter), SPEC)
    runtime = OnnxRuntime(export_onnx(exact, (24, 40), any_size=True, opset=12))
    for size in SIZES:
        assert_agree(exact, runtime, images(*size))


def test_without_any_size_the_file_takes_one_size_only() -> None:
    exact = inference_model(live(TinySegmenter), SPEC)
    runtime = OnnxRuntime(export_onnx(exact, (24, 40)))
    assert_agree(exact, runtime, images(2, 24, 40))
    with pytest.raises(ConvsmithError, match=r"cannot run on images of shape \(1, 3, 40, 24\)"):
        runtime.run(images(1, 40, 24).numpy())


def test_parity_takes_images_of_several_sizes_together(tiny: tuple[nn.Module, OnnxRuntime]) -> None:
    exact, runtime = tiny
    batches = [images(1, 20, 33), images(2, 9, 14), images(1, 50, 7)]
    parity = measure_parity(exact, runtime.run, batches)
    with torch.inference_mode():
        differences = [np.abs(exact(batch).numpy() - runtime.run(batch.numpy())) for batch in batches]
    values = np.concatenate([difference.ravel() for difference in differences])
    assert parity["images"] == 4
    assert parity["max_abs_diff"] == values.max()
    assert parity["mean_abs_diff"] == pytest.approx(values.mean())
    assert parity["top1_agreement"] == 1.0


def test_agreement_is_the_share_of_pixels() -> None:
    """Logits a hair apart, of which some change places: the class of so many pixels is another one."""

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 2, *x.shape[2:])

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = np.zeros((len(batch), 2, *batch.shape[2:]), np.float32)
        logits[:, 1, 0] = 1e-6
        return logits

    batches = [images(1, 2, 5), images(1, 3, 10)]
    assert measure_parity(Constant(), run, batches, Tolerance())["top1_agreement"] == 1 - 15 / 40


def test_a_difference_in_one_image_alone_is_caught(tiny: tuple[nn.Module, OnnxRuntime]) -> None:
    exact, runtime = tiny
    with pytest.raises(ConvsmithError, match="on 2 images their logits differ"):
        measure_parity(
            exact,
            lambda batch: runtime.run(batch) + np.float32(batch.shape[2] == 9),
            [images(1, 20, 33), images(1, 9, 14)],
        )


def test_a_bundle_of_a_segmentation_model_takes_any_size_and_has_its_colours(tmp_path: Path) -> None:
    model, colours = live(TinySegmenter), [(i, 2 * i, 3 * i) for i in range(CLASSES)]
    recipe = load_recipe("digit-scenes", ["model.name=resnet18_fcn", "model.options={}"])
    make_bundle(
        tmp_path / "bundle",
        model,
        recipe,
        labels=list("abcde"),
        metrics={"miou": 0.5},
        images=[images(1, 20, 33), images(1, 9, 14)],
        colours=colours,
    )
    bundle: Bundle[Segmentation] = load(tmp_path / "bundle")
    assert (bundle.manifest.task, bundle.manifest.colours) == ("segmentation", tuple(colours))
    assert bundle.manifest.parity["images"] == 2
    assert bundle.predict(np.zeros((13, 70, 3), np.uint8)).mask.shape == (13, 70)
