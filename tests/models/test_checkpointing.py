"""Gradient checkpointing of every model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.models.every import ALL, SMALL, images, live, lively_training, maps


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
    ("small-hrnet", False),
    ("small-resnest", False),
    ("small-isotropic", True),
    ("small-convnext-upernet", True),
    ("small-fcn", False),
}


@pytest.mark.parametrize(
    ("name", "half"),
    [
        pytest.param(name, half, marks=[] if (name, half) in QUICK else [pytest.mark.slow])
        for name in (*SMALL, *ALL)
        for half in (False, True)
        if name in ALL or (name, half) in QUICK
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
        "small-resnet",
        pytest.param("cifar_resnet20", marks=pytest.mark.slow),
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
