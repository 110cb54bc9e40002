"""One pass over the validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from convsmith.data.loader import Batch
from convsmith.tasks.base import Results


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    as_input: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    results: Results,
    after_batch: Callable[[Batch], bool],
) -> bool:
    """Run the model in eval mode and float32 over all batches, so that the figures are those of the exported model.

    Args:
        model: maps normalised images to logits.
        as_input: maps uint8 images to normalised ones on the model's device.
        batches: uint8 images with targets.
        results: receives logits and targets.
        after_batch: is told each batch; answers whether to go on.

    Returns:
        Whether all batches were seen.
    """
    was_training = model.training
    model.eval()
    try:
        for batch in batches:
            logits = model(as_input(batch.images))
            results.update(logits.float().cpu().numpy(), batch.targets.numpy())
            if not after_batch(batch):
                return False
    finally:
        model.train(was_training)
    return True
