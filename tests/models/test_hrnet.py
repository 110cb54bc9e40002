from __future__ import annotations

import copy
from functools import cache
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.models.base import SegmentationModel, VisionModel
from convsmith.models.checkpointing import Blocks
from convsmith.models.families.hrnet import HighResolutionModule, HRNetBackbone
from convsmith.models.registry import create_model
from convsmith.models.weights.load import load_weights
from convsmith.spec import Preprocess
from tests.models.golden import filled

# the heads of the others have nothing new for the tracer
TRACED = ("hrnet_w18_ocr", pytest.param("hrnet_w18", marks=pytest.mark.slow))


def live(name: str, num_classes: int = 5, **options: Any) -> VisionModel:
    """A small model as `filled` makes it."""
    return filled(lambda: create_model(name, num_classes=num_classes, **options))


@cache
def shared(name: str) -> VisionModel:
    """For tests that change nothing."""
    return live(name)


@cache
def short(name: str) -> VisionModel:
    """Every kind of part but few repetitions, so that tracing takes seconds; for tests that change nothing."""
    model = copy.deepcopy(shared(name))
    assert isinstance(model, HRNetBackbone)
    model.layer1, model.stage3, model.stage4 = (
        Blocks(stage[0]) for stage in (model.layer1, model.stage3, model.stage4)
    )
    for module in model.modules():
        if isinstance(module, HighResolutionModule):
            for branch in module.branches:
                assert isinstance(branch, nn.Sequential)
                del branch[1:]
    return model


IMAGES = torch.randn(2, 3, 50, 71, generator=torch.Generator().manual_seed(0))


def maps(output: Tensor | list[Tensor]) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else output


def assert_same(output: Tensor | list[Tensor], expected: Tensor | list[Tensor], tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(maps(output), maps(expected), atol=tolerance, rtol=0)


# The classification table of the official README (its GFLOPs are multiply-adds / 1024^3).
@pytest.mark.parametrize(
    ("name", "params_m", "gflops"),
    [
        ("hrnet_w18_small_v1", 13.2, 1.49),
        ("hrnet_w18_small_v2", 15.6, 2.42),
        ("hrnet_w30", 37.7, 7.55),
        *(
            pytest.param(*published, marks=pytest.mark.slow)  # the same but for one number, the width
            for published in [
                ("hrnet_w32", 41.2, 8.31),
                ("hrnet_w40", 57.6, 11.8),
                ("hrnet_w44", 67.1, 13.9),
                ("hrnet_w48", 77.5, 16.1),
                ("hrnet_w64", 128.1, 26.9),
            ]
        ),
    ],
)
def test_classifiers_have_the_published_size(name: str, params_m: float, gflops: float) -> None:
    with torch.device("meta"):
        model = create_model(name).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.empty(1, 3, 224, 224, device="meta"))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(params_m, abs=0.05)
    assert counter.get_total_flops() / 2 / 1024**3 == pytest.approx(gflops, rel=0.005)


@torch.inference_mode()
def test_align_corners_counts_inside_the_network() -> None:
    for name, default in (("hrnet_w18_seg", False), ("hrnet_w18_ocr", True)):  # the golden files hold the defaults
        other = live(name, align_corners=not default)
        pairs = zip(maps(shared(name)(IMAGES)), maps(other(IMAGES)), strict=True)
        assert all((a - b).abs().max() > 0.01 for a, b in pairs)


def test_fresh_segmentation_convolutions_have_the_official_spread_but_those_of_ocr() -> None:
    model = create_model("hrnet_w18_ocr")
    state = model.state_dict()
    assert state["stage4.0.branches.3.0.conv1.weight"].std() == pytest.approx(0.001, rel=0.02)
    assert state["conv3x3_ocr.0.weight"].std() > 0.005
    assert create_model("hrnet_w18_seg").state_dict()["last_layer.0.weight"].std() == pytest.approx(0.001, rel=0.02)


def test_both_heads_of_ocr_are_dropped_when_the_classes_differ() -> None:
    model = create_model("hrnet_w18_ocr", num_classes=3)
    report = load_weights(model, live("hrnet_w18_ocr").state_dict())
    assert report.dropped == ("aux_head.3.bias", "aux_head.3.weight", "cls_head.bias", "cls_head.weight")
    assert report.missing == report.unexpected == ()


def test_a_checkpoint_of_the_official_training_loads() -> None:
    expected = shared("hrnet_w18_seg").state_dict()
    checkpoint = {f"model.{key}": value for key, value in expected.items()} | {"loss.criterion.weight": torch.ones(5)}
    for state in (checkpoint, {f"module.{key}": value for key, value in checkpoint.items()}):
        model = create_model("hrnet_w18_seg", num_classes=5)
        assert load_weights(model, state).unexpected == ()
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "heads"),
    [("hrnet_w18_seg", ("last_layer",)), ("hrnet_w18_ocr", ("conv3x3_ocr", "ocr_distri_head", "cls_head", "aux_head"))],
)
def test_an_imagenet_backbone_loads_into_a_segmentation_model(name: str, heads: tuple[str, ...]) -> None:
    classifier = live("hrnet_w18").state_dict()
    model = create_model(name)
    report = load_weights(model, classifier)
    assert all(key.startswith(heads) for key in report.missing)
    assert all(key.startswith(("incre_", "downsamp_", "final_", "classifier")) for key in report.unexpected)
    assert torch.equal(model.state_dict()["conv1.weight"], classifier["conv1.weight"])


@pytest.mark.parametrize("name", TRACED)
@torch.inference_mode()
def test_it_compiles_as_one_graph(name: str) -> None:
    compiled = torch.compile(short(name), backend="eager", fullgraph=True)
    assert_same(compiled(IMAGES), short(name)(IMAGES))


@pytest.mark.parametrize("name", TRACED)
@torch.inference_mode()
def test_an_exported_program_takes_any_batch_and_size(name: str) -> None:
    model = short(name)
    shapes = ({0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    program = torch.export.export(model, (IMAGES,), dynamic_shapes=shapes)
    other = torch.randn(3, 3, 64, 97, generator=torch.Generator().manual_seed(1))
    assert_same(program.module()(other), model(other))


@pytest.mark.parametrize("name", TRACED)
@torch.inference_mode()
def test_the_onnx_file_holds_the_prediction_alone(name: str) -> None:
    model = inference_model(short(name), Preprocess(resize=50, crop=50))
    session = onnxruntime.InferenceSession(export_onnx(model, (50, 50)))
    pixels = torch.randint(0, 256, (3, 3, 50, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    (logits,) = session.run(["logits"], {"images": pixels.numpy()})
    images = model.get_submodule("normalize")(pixels)
    network = short(name)
    expected = network.segment(images) if isinstance(network, SegmentationModel) else network(images)
    assert_same(torch.from_numpy(logits), expected)
    assert len(session.get_outputs()) == 1
    assert expected.std() > 0.01
