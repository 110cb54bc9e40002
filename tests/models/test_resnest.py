from __future__ import annotations

from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.errors import ConvsmithError
from convsmith.models.families.resnest import MODELS, Bottleneck, ResNeSt, SplitAttention
from convsmith.models.registry import create_model
from convsmith.spec import Preprocess
from tests.models.golden import filled_state_dict

PLAIN: dict[str, Any] = {"radix": 0, "deep_stem": False, "avg_down": False, "avd": False}


def lively(model: nn.Module) -> nn.Module:
    """The model with weights and statistics under which every branch says something."""
    model.load_state_dict(filled_state_dict([(name, list(v.shape)) for name, v in model.state_dict().items()]))
    return model.eval()


def small(depths: tuple[int, int, int, int] = (1, 1, 2, 1), **options: Any) -> ResNeSt:
    model = lively(ResNeSt(depths, num_classes=10, **options))
    assert isinstance(model, ResNeSt)
    return model


def images(size: int = 64, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


# Millions of parameters and GMACs at 224x224, from the official README's table.
@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("resnest50_fast_1s1x64d", 26.3, 4.34),
        ("resnest50_fast_2s1x64d", 27.5, 4.34),
        ("resnest50_fast_4s1x64d", 31.9, 4.35),
        ("resnest50_fast_1s2x40d", 25.9, 4.38),
        ("resnest50_fast_2s2x40d", 26.9, 4.38),
        ("resnest50_fast_4s2x40d", 30.4, 4.41),
        ("resnest50_fast_1s4x24d", 25.7, 4.42),
    ],
)
def test_size_of_the_ablation_models_is_the_published_one(name: str, parameters: float, gmacs: float) -> None:
    with torch.device("meta"):
        model = create_model(name).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(parameters, abs=0.1)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.01)


def test_resnest269_has_the_published_size() -> None:
    with torch.device("meta"):
        model = create_model("resnest269")
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(110.93, abs=0.01)


def test_fast_2s1x64d_is_resnest50_but_for_the_place_of_the_pooling() -> None:
    fast, plain = MODELS["resnest50_fast_2s1x64d"].keywords, {"radix": 2, "cardinality": 1, "bottleneck_width": 64}
    assert fast == {**plain, "avd_first": True}


@pytest.mark.parametrize(("radix", "cardinality"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 2), (3, 2)])
@torch.no_grad()
def test_split_attention_is_that_of_the_paper_group_by_group(radix: int, cardinality: int) -> None:
    """Each of the K groups weighs its R splits by a softmax (a sigmoid for R = 1) of its own two small layers."""
    width = 48
    layer = SplitAttention(width, 1, radix, cardinality)
    lively(layer)
    x = torch.randn(2, width, 5, 5)
    splits = layer.bn0(layer.conv(x)).relu()
    channels = width // cardinality  # of a group
    squeezed = layer.fc1.out_channels // cardinality
    groups = []
    for k in range(cardinality):
        own = slice(k * channels, (k + 1) * channels)
        parts = [splits[:, r * width : (r + 1) * width][:, own] for r in range(radix)]
        pooled = sum(parts[1:], parts[0]).mean((2, 3))
        down = slice(k * squeezed, (k + 1) * squeezed)
        z = pooled @ layer.fc1.weight[down, :, 0, 0].T + layer.fc1.bias[down]  # type: ignore[index]
        norm = layer.bn1
        assert norm.running_mean is not None
        assert norm.running_var is not None
        z = (z - norm.running_mean[down]) / (norm.running_var[down] + norm.eps).sqrt()
        z = (z * norm.weight[down] + norm.bias[down]).relu()
        up = slice(k * channels * radix, (k + 1) * channels * radix)
        logits = (z @ layer.fc2.weight[up, :, 0, 0].T + layer.fc2.bias[up]).view(2, radix, channels)  # type: ignore[index]
        weights = logits.softmax(1) if radix > 1 else logits.sigmoid()
        groups.append(sum(weights[:, r, :, None, None] * parts[r] for r in range(radix)))
    torch.testing.assert_close(layer(x), torch.cat(groups, 1), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_without_all_that_is_special_it_is_the_plain_resnet() -> None:
    plain, special = lively(create_model("resnet50", num_classes=5)), ResNeSt((3, 4, 6, 3), num_classes=5, **PLAIN)
    special.load_state_dict(plain.state_dict())
    assert list(special.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(special.eval()(images()), plain(images()), rtol=1e-4, atol=1e-5)


def test_last_gamma_makes_every_block_start_as_the_identity() -> None:
    model = create_model("resnest50", last_gamma=True).eval()
    blocks = [module for module in model.modules() if isinstance(module, Bottleneck)]
    assert len(blocks) == 16
    x = torch.rand(1, 256, 4, 4)
    assert torch.equal(blocks[1](x), x)
    assert not any(block.bn3.weight.any() for block in blocks)


def test_final_dropout_zeroes_features_in_training_only() -> None:
    model = small(final_drop=0.5)
    assert not (model(images()) == 0).any()
    features = model.forward_features(images())
    model.drop.train()
    torch.manual_seed(0)
    dropped = model.forward_features(images())
    kept = dropped != 0
    assert 0.4 < kept[features != 0].float().mean() < 0.6
    torch.testing.assert_close(dropped[kept], 2 * features[kept])


def test_dropblock_changes_training_and_not_evaluation() -> None:
    model, without = small(dropblock_prob=0.2), small()
    assert torch.equal(model(images()), without(images()))
    model.train()
    with torch.no_grad():
        assert not torch.allclose(model(images()), model(images()))
        without.train()
        assert torch.equal(without(images()), without(images()))


@pytest.mark.parametrize("options", [{}, {"avd_first": True}, {"avd": False}, PLAIN], ids=str)
@torch.inference_mode()
def test_any_size_works(options: dict[str, Any]) -> None:
    model = small((1, 1, 1, 1), **options)
    for size in (1, 31, 33, 65):
        assert model(images(size)).isfinite().all()


def test_in_channels_sets_the_image_channels() -> None:
    for deep_stem in (True, False):
        assert small(in_channels=5, deep_stem=deep_stem)(torch.zeros(1, 5, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("options", [{"radix": 3}, {"radix": -1}, {"dropblock_prob": 2.0}, {"final_drop": -1.0}])
def test_impossible_options_are_user_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ConvsmithError, match="cannot be built with"):
        create_model("resnest50", **options)


def test_autocast_keeps_the_maps_in_half_precision() -> None:
    model, seen = small(), []
    layer = model.get_submodule("layer2.0.conv2")
    layer.register_forward_hook(lambda _, __, y: seen.append(y.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(images())
    assert seen == [torch.bfloat16]


# with several groups, split attention has all that the official one has
VARIANTS = pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow, id="official"),
        pytest.param({"radix": 4, "cardinality": 2, "bottleneck_width": 40, "avd_first": True}, id="fast"),
    ],
)


@VARIANTS
def test_compiles_into_one_graph_for_training_and_evaluation(options: dict[str, Any]) -> None:
    model = small((1, 1, 1, 1), dropblock_prob=0.1, **options)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images()), model(images()))
    model.train()
    compiled(images()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@VARIANTS
@torch.inference_mode()
def test_onnx_gives_the_same_at_an_odd_size_and_another_batch(options: dict[str, Any]) -> None:
    model = inference_model(small((1, 1, 1, 1), dropblock_prob=0.1, **options), Preprocess(resize=65, crop=65))
    pixels = torch.randint(0, 256, (3, 3, 65, 65), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(export_onnx(model, (65, 65)))
    (logits,) = session.run(None, {"images": pixels.numpy()})
    expected = model(pixels)
    assert expected.std(0).min() > 1e-3
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_torch_export_gives_the_same_for_any_batch() -> None:
    model = small((1, 1, 1, 1), radix=1)
    program = torch.export.export(model, (images(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(images(count=3)), model(images(count=3)))
