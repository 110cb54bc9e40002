"""What every model offers: layer ids, sizes, channels, checkpointing, channels_last, compilation, export."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier, SegmentationModel, VisionModel
from convsmith.models.hrnet import HRNetBackbone
from convsmith.models.layers import DropBlock, DropPath
from convsmith.models.registry import create_model, list_models
from convsmith.spec import Preprocess
from tests.models.golden import filled_state_dict, golden

# A name, or a name and an option that adds layers to it.
ALL = sorted({*list_models(), "resnet50 se"})
SMALLEST = {
    "cifar_resnet20",
    "resnet18",
    "resnest50_fast_1s1x64d",
    "convnext_tiny",
    "convnext_isotropic_small",
    "hrnet_w18",
    "hrnet_w18_ocr",
    "mobilenet_v2",
}


def others_are_slow(quick: set[str]) -> pytest.MarkDecorator:
    marks = {name: [] if name in quick else [pytest.mark.slow] for name in ALL}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in ALL])


smallest_models = others_are_slow(SMALLEST)
traced_models = others_are_slow({"cifar_resnet20"})  # the other families have tests with fewer blocks


def build(name: str, **options: Any) -> VisionModel:
    name, _, option = name.partition(" ")
    return create_model(name, **(options | ({option: True} if option else {})))


def without_memory(name: str, **options: Any) -> VisionModel:
    with torch.device("meta"):
        return build(name, **options).eval()


def live(name: str, **options: Any) -> VisionModel:
    """A model with no branch near zero, so that an error in any of them shows in the logits."""
    model = build(name, num_classes=5, **options)
    model.load_state_dict(filled_state_dict([(key, list(value.shape)) for key, value in model.state_dict().items()]))
    return model.eval()


@cache
def shared(name: str) -> VisionModel:
    """For tests that change nothing."""
    with torch.inference_mode(False):  # else the first test to ask would decide what the others can do with it
        return live(name)


def images(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def maps(output: Tensor | list[Tensor]) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else output


def assert_same(output: Tensor | list[Tensor], expected: Tensor | list[Tensor]) -> None:
    for a, b in zip(maps(output), maps(expected), strict=True):
        assert b.std() > 0.01
        torch.testing.assert_close(a, b, atol=2e-4, rtol=2e-4)


# Layer ids


@smallest_models
def test_layer_ids_rise_from_the_stem_to_the_head(name: str) -> None:
    model = without_memory(name)
    ids, prefixes = model.layer_ids(), model.block_prefixes()
    assert list(ids) == [name for name, _ in model.named_parameters()]
    assert all(any(key.startswith(prefix) for key in ids) for block in prefixes for prefix in block)
    assert all(prefix.endswith(".") for block in prefixes for prefix in block)

    seen: list[int] = []
    for path, module in model.named_modules():
        if own := {ids[f"{path}.{key}"] for key, _ in module.named_parameters(recurse=False)}:
            assert len(own) == 1
            module.register_forward_pre_hook(lambda _, __, own=own: seen.extend(own))
    side = max(model.smallest_side, 8)
    model(torch.empty(2, 3, side, side, device="meta"))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert ids[f"{model.input_layer}.weight"] == 0
    assert {ids[f"{head}.weight"] for head in model.heads} == {len(prefixes)}


OFFICIAL_IDS: dict[str, dict[str, int]] = golden("convnext_layer_ids")["ids"]


@pytest.mark.parametrize(
    ("name", "official"),
    [("convnext_tiny", "convnext_tiny")]
    + [(f"convnext_{size}", "convnext_base") for size in ("small", "base", "large", "xlarge")],
)
def test_layer_ids_of_convnext_are_the_official_ones(name: str, official: str) -> None:
    assert without_memory(name).layer_ids() == OFFICIAL_IDS[official]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("cifar_resnet20", 9),
        ("resnet50", 16),
        ("resnest269", 89),
        ("mobilenet_v2", 17),
        ("convnext_isotropic_small", 18),
        ("hrnet_w18", 4 + 1 + 4 + 3),
        ("hrnet_w48_ocr", 4 + 1 + 4 + 3),
    ],
)
def test_the_stem_and_each_block_have_an_id_of_their_own(name: str, blocks: int) -> None:
    assert set(without_memory(name).layer_ids().values()) == set(range(1 + blocks + 1))


# What goes in, what comes out


@smallest_models
@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_any_channels_and_size_become_logits(name: str, channels: int) -> None:
    model = without_memory(name, in_channels=channels, num_classes=7)
    assert model.in_channels == channels
    s = model.smallest_side
    height, width = s + 6, s + 60
    output = maps(model(torch.empty(2, channels, height, width, device="meta")))
    expected = (2, 7, -(-height // 4), -(-width // 4)) if isinstance(model, SegmentationModel) else (2, 7)
    assert {tuple(logits.shape) for logits in output} == {expected}


@smallest_models
@torch.inference_mode()
def test_odd_and_tiny_images_give_finite_logits(name: str) -> None:
    model = shared(name)
    s = model.smallest_side
    for height, width in [(s, s), (s, s + 1), (s + 33, s + 14)]:
        assert all(logits.isfinite().all() for logits in maps(model(images(2, height, width))))


@smallest_models
def test_images_that_do_not_fit_are_errors_that_say_why(name: str) -> None:
    model = without_memory(name)
    s = model.smallest_side

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    with pytest.raises(ConvsmithError, match=r"\[3, 64, 64\] is no batch of images: the model takes \[N, 3, H, W\]"):
        model(empty(3, 64, 64))
    with pytest.raises(ConvsmithError, match=r"takes 3 channels, the images have 1\nCreate it with in_channels=1\."):
        model(empty(2, 1, 64, 64))
    with pytest.raises(ConvsmithError, match="takes normalised images, not uint8 values\nNormalise them first"):
        model(empty(2, 3, 64, 64).byte())
    for height, width in [(s - 1, 64), (64, s - 1)]:
        with pytest.raises(ConvsmithError, match=f"of {height}x{width} pixels are too small"):
            model(empty(2, 3, height, width))


@smallest_models
def test_reset_head_changes_the_heads_and_nothing_else(name: str) -> None:
    model = without_memory(name)
    before = dict(model.named_parameters())
    model.reset_head(3)
    after = dict(model.named_parameters())
    heads = tuple(f"{head}." for head in model.heads)
    assert list(after) == list(before)
    assert all((after[key] is before[key]) != key.startswith(heads) for key in after)
    assert model.num_classes == 3
    assert {logits.shape[1] for logits in maps(model(torch.empty(2, 3, 64, 64, device="meta")))} == {3}


def spread_of_heads(model: VisionModel) -> list[float]:
    heads = tuple(f"{head}." for head in model.heads)
    return [parameter.std().item() for key, parameter in model.named_parameters() if key.startswith(heads)]


@pytest.mark.parametrize("name", sorted(SMALLEST | {"hrnet_w18_seg"}))
def test_a_new_head_begins_as_that_of_a_new_model(name: str) -> None:
    model = build(name, num_classes=200)
    of_new_model = spread_of_heads(model)
    model.reset_head(200)
    assert spread_of_heads(model) == pytest.approx(of_new_model, rel=0.15)


@smallest_models
@torch.inference_mode()
def test_features_are_what_the_head_sees(name: str) -> None:
    model = shared(name)
    features = model.forward_features(images())
    if isinstance(model, ImageClassifier):
        assert torch.equal(model.get_submodule(model.heads[-1])(features), model(images()))
    else:
        assert isinstance(model, HRNetBackbone)
        assert features.shape == (2, sum(model.channels), 16, 16)


# Gradient checkpointing


def lively_training(name: str) -> VisionModel:
    """With every layer at work that draws random numbers in training."""
    model = live(name).train()
    for module in model.modules():
        if isinstance(module, DropPath | DropBlock):
            module.drop_prob = 0.2
    return model


def train(model: nn.Module, x: Tensor, compiled: bool = False) -> tuple[dict[str, Tensor], int]:
    """Gradients, and the bytes that were kept for the backward pass."""
    torch.manual_seed(0)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
        output = maps(run(x))
    own = {tensor.untyped_storage()._cdata for tensor in model.state_dict().values()}
    size = sum(n for storage, n in kept.items() if storage not in own)
    torch.stack([logits.float().square().mean() for logits in output]).sum().backward()  # type: ignore[no-untyped-call]
    return {key: p.grad for key, p in model.named_parameters() if p.grad is not None}, size


# With running statistics; maps of several sizes; DropBlock; drop path.
QUICK = {
    ("cifar_resnet20", True),
    ("hrnet_w18_ocr", False),
    ("resnest50_fast_1s1x64d", False),
    ("convnext_isotropic_small", True),
}


@pytest.mark.parametrize(
    ("name", "half"),
    [
        pytest.param(name, half, marks=[] if (name, half) in QUICK else [pytest.mark.slow])
        for name in ALL
        for half in (False, True)
    ],
)
def test_checkpointing_changes_memory_and_no_number(name: str, half: bool) -> None:
    plain = lively_training(name)
    x = images(2, 48, 48)
    if half:
        plain.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    frugal = copy.deepcopy(plain)
    frugal.gradient_checkpointing()
    assert list(frugal.state_dict()) == list(plain.state_dict())
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        expected, expected_bytes = train(plain, x)
        gradients, kept_bytes = train(frugal, x)
    assert list(gradients) == [key for key, _ in plain.named_parameters()]
    assert all(torch.equal(gradients[key], expected[key]) for key in expected)
    state = frugal.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())
    assert kept_bytes < 0.6 * expected_bytes


def test_checkpointing_is_switched_for_one_model_only_and_off_again() -> None:
    model = live("cifar_resnet20").train()
    _, full = train(model, images())
    model.gradient_checkpointing()
    other = copy.deepcopy(model)
    other.gradient_checkpointing(False)
    assert train(model, images())[1] < full == train(other, images())[1]
    model.gradient_checkpointing(False)
    assert train(model, images())[1] == full


@pytest.mark.parametrize(
    "name",
    [
        "cifar_resnet20",
        pytest.param("resnest50_fast_1s1x64d", marks=pytest.mark.slow),
        pytest.param("convnext_isotropic_small", marks=pytest.mark.slow),
    ],
)
def test_checkpointing_compiles_into_one_graph_and_changes_no_number(name: str) -> None:
    plain = lively_training(name)
    frugal = copy.deepcopy(plain)
    frugal.gradient_checkpointing()
    expected, _ = train(plain, images(), compiled=True)
    gradients, _ = train(frugal, images(), compiled=True)
    assert all(torch.equal(a, b) for a, b in zip(gradients.values(), expected.values(), strict=True))
    state = frugal.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())


# Memory format, compilation, export


@smallest_models
def test_channels_last_is_kept_throughout_and_changes_nothing(name: str) -> None:
    expected = shared(name)(images())
    model = live(name).to(memory_format=torch.channels_last)
    lost: list[str] = []

    def hook(path: str) -> Any:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            for y in output if isinstance(output, list) else [output]:
                if y.ndim == 4 and not y.is_contiguous(memory_format=torch.channels_last):
                    lost.append(path)

        return note

    for path, module in model.named_modules():
        if not isinstance(module, nn.LayerNorm | nn.Linear | nn.GELU):  # these see [N, H, W, C] in ConvNeXt
            module.register_forward_hook(hook(path))
    assert_same(model(images().to(memory_format=torch.channels_last)), expected)
    assert not lost


@traced_models
def test_it_compiles_for_training_and_evaluation_without_graph_breaks(name: str) -> None:
    model = shared(name)
    assert_same(torch.compile(model, backend="eager", fullgraph=True)(images()), model(images()))
    model = lively_training(name)
    output = torch.compile(model, backend="eager", fullgraph=True)(images())
    torch.stack([logits.square().mean() for logits in maps(output)]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters())


@traced_models
@torch.inference_mode()
def test_an_exported_program_takes_any_batch(name: str) -> None:
    model = copy.deepcopy(shared(name))
    model.gradient_checkpointing()
    program = torch.export.export(model, (images(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert_same(program.module()(images(3)), model(images(3)))


@traced_models
@torch.inference_mode()
def test_the_onnx_file_says_what_torch_says(name: str) -> None:
    model = copy.deepcopy(shared(name))
    model.gradient_checkpointing()
    served = inference_model(model, Preprocess(resize=50, crop=50))
    pixels = torch.randint(0, 256, (3, 3, 50, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(export_onnx(served, 50))
    assert [output.name for output in session.get_outputs()] == ["logits"]
    (logits,) = session.run(None, {"images": pixels.numpy()})
    assert_same(torch.from_numpy(logits), served(pixels))
    normalized = served.get_submodule("normalize")(pixels)
    assert torch.equal(served(pixels), maps(model(normalized))[-1])
