"""Remedies for a step that needs more memory than there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.errors import ConvsmithError, counted


class OutOfMemory(ConvsmithError):
    """Something did not fit into memory.

    Attributes:
        in_update: it was the update of a step, which may have moved some of the weights.
        smaller: images in a forward pass with which the last checkpoint can be gone on from; None if with none.
    """

    def __init__(self, images: int, why: str, in_update: bool = False) -> None:
        super().__init__(
            f"out of memory with {counted(images, 'image')} in a forward pass",
            why,
            "Set model.gradient_checkpointing=true, or train on smaller images (augment and preprocess).",
        )
        self.in_update = in_update
        self.smaller: int | None = None


@contextmanager
def out_of_memory_is_named(images: int, in_update: bool = False) -> Iterator[None]:
    """Make an OutOfMemory of what a device, or the CPU's allocator, says in the block when it has no memory left."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(images, str(error).partition("\n")[0] or "no memory is left", in_update) from None


_SIGNS = (
    "DefaultCPUAllocator: ",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "MPS backend out of memory",
    "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",  # of Intel's GPUs
    "UR_RESULT_ERROR_OUT_OF_RESOURCES",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "could not create a primitive",  # oneDNN, whose kernels are made when they are first used
    "could not create a memory",
    "std::bad_alloc",
    "Cannot allocate memory",
    "Resource temporarily unavailable",  # of the stack of a thread that computes
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that a device, a library, or the CPU's allocator has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in str(error) for sign in _SIGNS)


def smaller_batch(images: int) -> int | None:
    """The largest number of images in a forward pass below `images` that the same step can be made of."""
    return max((n for n in range(1, images // 2 + 1) if images % n == 0), default=None)


def depends_on_batch(model: nn.Module) -> bool:
    """Whether the model has BatchNorm that takes its statistics over the images of one forward pass."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())
