"""One model in several processes, whose gradients are the mean over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from convsmith.launch.world import World
from convsmith.training.parallel.distributed import share_buffers


class Replicas:
    """The model as a step sees it: itself where one process trains alone, else wrapped.

    Args:
        model: the same in all processes.
        world: who they are.
        compiled: compute with what torch.compile makes of it.
    """

    def __init__(self, model: nn.Module, world: World, compiled: bool = False) -> None:
        self._model, self._world = model, world
        self._forward: nn.Module = torch.compile(model) if compiled else model  # type: ignore[assignment]
        self._wrapped: DistributedDataParallel | None = None
        self._learning: list[nn.Parameter] = []

    @property
    def computes_alone(self) -> bool:
        """Whether a process can compute with the model without the others."""
        return not any(isinstance(module, nn.SyncBatchNorm) for module in self._model.modules())

    @property
    def model(self) -> nn.Module:
        """The model whose gradients become the mean; same parameters, other names."""
        return self._wrapped or self._forward

    def begin_epoch(self) -> None:
        """Wrap the model for the parameters that learn now; they can change with the epoch."""
        learning = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        if self._world.size == 1 or list(map(id, learning)) == list(map(id, self._learning)):
            return
        self._wrapped = None  # two of them at once would each reduce the gradients
        device = learning[0].device
        self._wrapped = DistributedDataParallel(
            _Learner(self._forward), device_ids=None if device.type == "cpu" else [device.index]
        )
        # DDP chooses the order of its messages after the first backward pass, and of three numbers or more the order of
        # their sum depends on that. So that a resumed run adds like one that never stopped, let that pass be this one.
        self._wrapped(None).backward()
        self._wrapped.zero_grad()
        self._learning = learning

    def pass_of_step(self, is_last: bool) -> AbstractContextManager[object]:
        """The context of one forward and backward pass; the last of a step makes the sum of its gradients the mean."""
        return nullcontext() if is_last or self._wrapped is None else self._wrapped.no_sync()

    def spread(self, model: nn.Module) -> None:
        """Keep of another model what is kept of the first: all of it."""

    @contextmanager
    def whole(self, model: nn.Module) -> Iterator[None]:
        """Let each process compute with the model as often as it wants, and all of them alike."""
        share_buffers(self._world, model)
        yield


class _Learner(nn.Module):
    """The model, and without images something that all learning parameters have a gradient of, which is zero."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor | None) -> Tensor:
        if images is not None:
            return self.model(images)  # type: ignore[no-any-return]
        total = torch.zeros((), device=next(self.parameters()).device)
        for parameter in self.parameters():
            if parameter.requires_grad:
                total = total + 0 * parameter.sum()
        return total
