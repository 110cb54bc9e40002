from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2 as TorchvisionMobileNetV2

from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.errors import ConvsmithError
from convsmith.models.checkpointing import Blocks
from convsmith.models.families.mobilenet import InvertedResidual, MobileNetV2
from convsmith.models.registry import create_model
from convsmith.models.weights.load import load_weights
from convsmith.spec import Preprocess

IMAGES = torch.randn(4, 3, 64, 75, generator=torch.Generator().manual_seed(0))


def head(model: MobileNetV2) -> nn.Linear:
    layer = model.get_submodule(model.heads[-1])
    assert isinstance(layer, nn.Linear)
    return layer


def live() -> MobileNetV2:
    """A narrow model with statistics as after training, and of the blocks that add their input only the first."""
    torch.manual_seed(0)
    model = MobileNetV2(num_classes=5, width_mult=0.25)
    _, *repeated = (it for it in model.features if isinstance(it, InvertedResidual) and it.has_identity)
    model.features = Blocks(*(it for it in model.features if it not in repeated))
    with torch.no_grad():
        head(model).weight.normal_()
        for _ in range(20):
            model(torch.randn(4, 3, 64, 64))
    return model.eval()


# 0.35 is where rounding to the nearest multiple of 8 would lose more than a tenth of some layers.
@pytest.mark.parametrize("width_mult", [0.1, 0.35, 0.75, 1.4])
@torch.inference_mode()
def test_every_width_has_torchvisions_names_shapes_and_logits(width_mult: float) -> None:
    torch.manual_seed(0)
    theirs = TorchvisionMobileNetV2(num_classes=7, width_mult=width_mult)
    for _ in range(3):  # with fresh statistics all logits are next to 0
        theirs(torch.randn(4, 3, 64, 75))
    theirs.eval()
    assert theirs(IMAGES).std() > 0.01
    ours = create_model("mobilenet_v2", num_classes=7, width_mult=width_mult).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    load_weights(ours, theirs.state_dict())
    torch.testing.assert_close(ours(IMAGES), theirs(IMAGES), atol=1e-6, rtol=1e-4)


def test_fresh_weights_have_torchvisions_spread_also_after_a_new_head() -> None:
    ours, theirs = MobileNetV2(), TorchvisionMobileNetV2()
    for key, value in theirs.state_dict().items():
        if value.ndim > 1:
            assert ours.state_dict()[key].std().item() == pytest.approx(value.std().item(), rel=0.3), key
    ours.reset_head(300)
    assert ours.num_classes == 300
    assert head(ours).weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not head(ours).bias.any()


def test_dropout_zeroes_features_in_training_only() -> None:
    model = MobileNetV2(width_mult=0.25, dropout=0.5)
    assert torch.equal(model.eval().forward_features(IMAGES), model.forward_features(IMAGES))
    zeros = (model.train().forward_features(IMAGES) == 0).float().mean().item()
    without = MobileNetV2(width_mult=0.25, dropout=0.0)
    without.load_state_dict(model.state_dict())
    assert zeros > 0.4 + (without.train().forward_features(IMAGES) == 0).float().mean().item() / 2


def test_a_width_of_nothing_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match="width_mult must be positive"):
        create_model("mobilenet_v2", width_mult=0.0)


def test_it_compiles_for_training_without_graph_breaks() -> None:
    model = live().train()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.manual_seed(0)
    expected = model(IMAGES)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(IMAGES), expected)


@torch.inference_mode()
def test_the_onnx_file_says_what_torch_says() -> None:
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = inference_model(live(), Preprocess(resize=64, crop=64))
    logits = torch.from_numpy(OnnxRuntime(export_onnx(model, (64, 64))).run(images.numpy()))
    torch.testing.assert_close(logits, model(images), atol=1e-4, rtol=0)
    assert logits.std() > 0.1
