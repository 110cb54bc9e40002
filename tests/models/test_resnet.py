from __future__ import annotations

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.errors import ConvsmithError
from convsmith.models.families.resnet import Bottleneck, ResNet, SqueezeExcitation
from convsmith.models.registry import create_model
from convsmith.spec import Preprocess
from tests.models.golden import filled_state_dict


def lively(model: nn.Module) -> nn.Module:
    """The model with weights and statistics under which every branch says something."""
    model.load_state_dict(filled_state_dict([(name, list(v.shape)) for name, v in model.state_dict().items()]))
    return model.eval()


def small() -> nn.Module:
    return lively(ResNet(Bottleneck, (1, 1, 1, 1), num_classes=10, se=True))


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


# Published sizes of SE-ResNet-50 and -101; SE-ResNeXt-50 is ResNeXt-50 and the same additional layers.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet50", 28_088_024), ("resnet101", 49_326_872), ("resnext50_32x4d", 27_559_896)],
)
def test_squeeze_and_excitation_adds_the_published_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model(name, se=True)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_squeeze_and_excitation_adds_names_and_changes_none() -> None:
    with torch.device("meta"):
        plain, squeezed = create_model("resnet50").state_dict(), create_model("resnet50", se=True).state_dict()
    added = [name for name in squeezed if ".se." in name]
    assert [name for name in squeezed if name not in added] == list(plain)
    assert added[:4] == [f"layer1.0.se.{name}" for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")]
    assert len(added) == 16 * 4


@torch.no_grad()
def test_squeeze_and_excitation_is_the_formula_of_the_paper() -> None:
    layer = lively(SqueezeExcitation(64))
    assert isinstance(layer, SqueezeExcitation)
    x = torch.randn(3, 64, 5, 7)
    hidden = F.linear(x.mean((2, 3)), layer.fc1.weight[:, :, 0, 0], layer.fc1.bias).relu()
    weights = F.linear(hidden, layer.fc2.weight[:, :, 0, 0], layer.fc2.bias).sigmoid()
    assert hidden.shape == (3, 4)
    torch.testing.assert_close(layer(x), x * weights[:, :, None, None])


@torch.no_grad()
def test_it_weighs_the_residual_branch_alone_after_its_last_norm() -> None:
    block = lively(Bottleneck(256, 64, stride=1, groups=1, width_per_group=64, se=True))
    seen: dict[str, Tensor] = {}
    for name in ("bn3", "se"):
        layer = block.get_submodule(name)
        layer.register_forward_hook(lambda _, given, y, name=name: seen.update({name: y.clone()}))
    x = torch.randn(2, 256, 4, 4)
    y = block(x)
    torch.testing.assert_close(seen["se"], block.se(seen["bn3"]))  # type: ignore[operator]
    torch.testing.assert_close(y, torch.relu(seen["se"] + x))


def test_zero_init_residual_still_makes_every_block_the_identity() -> None:
    model = create_model("resnet50", se=True, zero_init_residual=True).eval()
    x = torch.rand(1, 256, 4, 4)
    assert torch.equal(model.get_submodule("layer1.1")(x), x)


def test_basic_blocks_have_no_squeeze_and_excitation() -> None:
    with pytest.raises(ConvsmithError, match="ResNet-18 and -34 have none"):
        create_model("resnet18", se=True)


def test_squeeze_and_excitation_compiles_into_one_graph() -> None:
    model = small()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images()), model(images()))
    model.train()
    compiled(images()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@torch.inference_mode()
def test_squeeze_and_excitation_gives_the_same_in_onnx() -> None:
    model = inference_model(small(), Preprocess(resize=64, crop=64))
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(export_onnx(model, (64, 64)))
    (logits,) = session.run(None, {"images": pixels.numpy()})
    expected = model(pixels)
    assert expected.std(0).min() > 1e-3
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)
