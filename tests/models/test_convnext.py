from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.errors import ConvsmithError
from convsmith.models.families.convnext import ConvNeXt, IsotropicConvNeXt
from convsmith.models.layers import DropPath
from convsmith.models.registry import create_model
from convsmith.spec import Preprocess

IMAGES = torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def live(kind: str, drop_path: float = 0.0) -> ConvNeXt | IsotropicConvNeXt:
    """A small model whose branches weigh as much as their identities."""
    torch.manual_seed(0)
    model = (
        IsotropicConvNeXt(2, 16, 5, drop_path=drop_path, layer_scale_init_value=1.0)
        if kind == "isotropic"
        else ConvNeXt((1, 1, 2, 1), (8, 16, 24, 32), 5, drop_path=drop_path, layer_scale_init_value=1.0)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model.eval()


# Tables of the official README; the golden files have some counts exactly.
@pytest.mark.parametrize(
    ("name", "params_m", "gmacs"),
    [
        ("convnext_tiny", 29, 4.5),
        ("convnext_small", 50, 8.7),
        ("convnext_base", 89, 15.4),
        ("convnext_large", 198, 34.4),
        ("convnext_xlarge", 350, 60.9),
        ("convnext_isotropic_small", 22, 4.3),
        ("convnext_isotropic_base", 87, 16.9),
        ("convnext_isotropic_large", 306, 59.7),
    ],
)
def test_every_variant_has_the_published_size(name: str, params_m: int, gmacs: float) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = create_model(name)
        model(torch.empty(1, 3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(params_m, abs=0.5)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.06)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("convnext_tiny", 18),
        ("convnext_isotropic_small", 0),
        ("convnext_isotropic_base", 0),
        ("convnext_isotropic_large", 36),
    ],
)
def test_layer_scale_is_where_the_official_commands_have_it(name: str, blocks: int) -> None:
    with torch.device("meta"):
        state = create_model(name).state_dict()
    assert sum(key.endswith(".gamma") for key in state) == blocks


@pytest.mark.parametrize("value", [1, -1])
def test_a_layer_scale_of_a_whole_number_is_learned_too(value: int) -> None:
    gamma = IsotropicConvNeXt(1, 4, layer_scale_init_value=value).get_parameter("blocks.0.gamma")
    assert gamma.requires_grad
    assert torch.equal(gamma, torch.full((4,), float(value)))


def test_layer_scale_takes_any_value_and_zero_switches_it_off() -> None:
    state = create_model("convnext_tiny", layer_scale_init_value=0.25).state_dict()
    assert all(torch.all(value == 0.25) for key, value in state.items() if key.endswith(".gamma"))
    with torch.device("meta"):
        without = create_model("convnext_tiny", layer_scale_init_value=0).state_dict()
    assert set(state) - set(without) == {key for key in state if key.endswith(".gamma")}


@pytest.mark.parametrize("kind", ["staged", "isotropic"])
def test_head_init_scale_holds_for_the_first_head_and_for_every_later_one(kind: str) -> None:
    model = (
        IsotropicConvNeXt(1, 64, 1000, head_init_scale=0.001)
        if kind == "isotropic"
        else ConvNeXt((1, 1, 1, 1), (8, 8, 8, 64), 1000, head_init_scale=0.001)
    )
    for _ in range(2):
        assert model.head.weight.std().item() == pytest.approx(2e-5, rel=0.02)
        assert not model.head.bias.any()
        model.reset_head(2000)
    assert model.head.weight.requires_grad
    assert model.num_classes == 2000


@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_isotropic_small"])
def test_drop_path_grows_linearly_from_zero_over_all_blocks(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, drop_path=0.4)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx(torch.linspace(0, 0.4, 18).tolist())


def test_drop_path_leaves_evaluation_alone() -> None:
    model = live("staged", drop_path=0.5)
    assert torch.equal(model(IMAGES), live("staged")(IMAGES))
    model.train()
    assert not torch.equal(model(IMAGES), model(IMAGES))


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_an_impossible_drop_path_is_an_error(rate: float) -> None:
    with pytest.raises(ConvsmithError, match="drop_path is a probability"):
        create_model("convnext_tiny", drop_path=rate)


@pytest.mark.parametrize("kind", ["staged", "isotropic"])
def test_it_compiles_for_training_without_graph_breaks(kind: str) -> None:
    model = live(kind, drop_path=0.2).train()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.manual_seed(0)
    expected = model(IMAGES)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(IMAGES), expected)


@pytest.mark.parametrize("kind", ["staged", "isotropic"])
@torch.inference_mode()
def test_torch_export_takes_any_batch(kind: str) -> None:
    model = live(kind)
    exported = torch.export.export(model, (IMAGES,), dynamic_shapes={"x": {0: torch.export.Dim("batch")}}).module()
    images = torch.cat([IMAGES, IMAGES])
    torch.testing.assert_close(exported(images), model(images))


@pytest.mark.parametrize("kind", ["staged", "isotropic"])
@torch.inference_mode()
def test_the_onnx_file_says_what_torch_says(kind: str) -> None:
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = inference_model(live(kind), Preprocess(resize=64, crop=64))
    logits = torch.from_numpy(OnnxRuntime(export_onnx(model, (64, 64))).run(images.numpy()))
    torch.testing.assert_close(logits, model(images), atol=1e-4, rtol=0)
    assert logits.std() > 0.1
