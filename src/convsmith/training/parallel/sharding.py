"""One model over several processes, each of which keeps only its share of all tensors: FSDP2 (torch's fully_shard)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from convsmith.launch.world import World
from convsmith.training.parallel.distributed import share_buffers
from convsmith.training.parallel.replicas import Replicas


class Shards(Replicas):
    """The model as a step sees it, whose weights are gathered block by block when they are computed with.

    A process keeps its rows of each parameter, and so of its gradient and of what optimizer and average hold for it.
    Buffers it has of its own.

    Args:
        model: the same in all processes; its parameters become others, which an optimizer has to be made for after.
        world: who they are.
    """

    def __init__(self, model: nn.Module, world: World) -> None:
        super().__init__(model, world)
        self._mesh = init_device_mesh(next(model.parameters()).device.type, (world.size,))
        self.spread(model)

    @property
    def computes_alone(self) -> bool:
        """No: it gathers the others' shares."""
        return False

    def spread(self, model: nn.Module) -> None:
        """Keep only this process's share of the model."""
        model.to(memory_format=torch.contiguous_format)  # whose rows are consecutive; FSDP takes no other
        for block in (*_blocks(model), model):
            fully_shard(block, mesh=self._mesh, reshard_after_forward=True)

    def begin_epoch(self) -> None:
        """Nothing: which parameters learn may change at any time."""

    def pass_of_step(self, is_last: bool) -> AbstractContextManager[object]:  # noqa: ARG002
        """Nothing: each pass shares out its gradients, because to add them up before needs memory for all of them."""
        return nullcontext()

    @contextmanager
    def whole(self, model: nn.Module) -> Iterator[None]:
        """Have all of the model here, because one process evaluates more batches than another."""
        share_buffers(self._world, model)
        parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for part in parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        try:
            yield
        finally:
            for part in parts:
                part.set_reshard_after_forward(True, recurse=False)
                part.reshard()


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The members of chains of layers, at the outermost level; the rest is gathered with the model itself.

    What lies in a chain is called as a module, which FSDP has to notice. A norm alone is not worth the messages, and
    some return views of their inputs, whose gradients FSDP may miss.
    """
    for child in model.children():
        if not isinstance(model, nn.Sequential) or isinstance(child, nn.Sequential):
            yield from _blocks(child)
        elif any(parameter.ndim > 1 for parameter in child.parameters()):
            yield child
