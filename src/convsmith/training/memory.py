"""What to do when a forward pass needs more memory than there is."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.errors import ConvsmithError, counted


class OutOfMemory(ConvsmithError):
    """A forward or backward pass did not fit into memory."""

    def __init__(self, images: int, why: str) -> None:
        super().__init__(
            f"out of memory with {counted(images, 'image')} in a forward pass",
            why,
            "Set model.gradient_checkpointing=true, or train on smaller images (augment and preprocess).",
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether it says that a device, or the CPU's allocator, has no memory left."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: " in text or "CUDA out of memory" in text


def smaller_batch(images: int) -> int | None:
    """The largest number of images in a forward pass below `images` that the same step can be made of."""
    return max((n for n in range(1, images // 2 + 1) if images % n == 0), default=None)


def depends_on_batch(model: nn.Module) -> bool:
    """Whether the model has BatchNorm that takes its statistics over the images of one forward pass."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())
