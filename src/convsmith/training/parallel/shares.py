"""Shares of a tensor that is shared out: a process keeps some of its rows, as a DTensor. Others are kept whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_shared_out(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether other processes keep parts of it."""
    from torch.distributed.tensor import DTensor  # slow to import

    return isinstance(tensor, DTensor)


def kept(tensor: Tensor) -> Tensor:
    """The values that this process keeps, in the same memory."""
    return tensor.to_local() if is_shared_out(tensor) else tensor


def shared_out(whole: Tensor, like: Tensor) -> Tensor:
    """`whole`, of which every process has all values, shared out as `like` is."""
    if not is_shared_out(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def load_whole(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a state dict of whole tensors, whose names are exactly the model's."""
    own = model.state_dict()
    model.load_state_dict({name: shared_out(value, own.get(name, value)) for name, value in tensors.items()})


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """The norm of all values of all tensors together, the same for each process that keeps some of them."""
    norm = nn.utils.get_total_norm(tensors)
    return norm.full_tensor() if is_shared_out(norm) else norm
