"""Gradients that are the mean over processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsmith.launch.world import World
from convsmith.training.parallel.distributed import joined
from convsmith.training.parallel.replicas import Replicas
from tests.training.ranks import run_ranks


class Crossed(nn.Module):
    """Several of DDP's messages long; its layers are not called in the order in which they are registered."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(512, 512) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        for i in (3, 0, 5, 1, 4, 2):
            x = torch.tanh(self.layers[i](x))
        return x


def gradients(model: nn.Module, replicas: Replicas, rank: int) -> list[Tensor]:
    model.zero_grad()
    images = torch.randn(4, 512, generator=torch.Generator().manual_seed(rank))
    with replicas.pass_of_step(is_last=True):
        replicas.model(images).square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def compare_a_resumed_process_with_one_that_never_stopped() -> bool:
    with joined() as world:
        torch.manual_seed(0)
        model = Crossed()
        old = Replicas(model, world)
        old.begin_epoch()
        for _ in range(3):
            before = gradients(model, old, world.rank)
        old.__init__(model, world)  # type: ignore[misc]  # two at once would reduce twice
        old.begin_epoch()
        return all(map(torch.equal, gradients(model, old, world.rank), before))


def test_a_resumed_process_adds_gradients_in_the_same_order_as_one_that_never_stopped() -> None:
    assert run_ranks(3, compare_a_resumed_process_with_one_that_never_stopped) == [True] * 3


def test_one_process_trains_the_model_itself() -> None:
    model = nn.Linear(2, 2)
    replicas = Replicas(model, World())
    replicas.begin_epoch()
    assert replicas.model is model
