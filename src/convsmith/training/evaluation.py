"""One pass over the validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.data.loader import Batch
from convsmith.tasks.base import Results, Task


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    task: Task,
    as_input: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    results: Results,
    after_batch: Callable[[Batch], bool],
) -> bool:
    """Run the model in eval mode and float32 over all batches, so that the figures are those of the exported model.

    Args:
        model: what is judged.
        task: says what of the model's outputs is the prediction.
        as_input: maps uint8 images to normalised ones on the model's device.
        batches: uint8 images with targets.
        results: judges them.
        after_batch: is told each batch; answers whether to go on.

    Returns:
        Whether all batches were seen.
    """

    def run(images: Tensor) -> NDArray[np.float32]:
        return task.logits(model, as_input(images)).float().cpu().numpy()

    was_training, tf32 = model.training, torch.backends.cudnn.allow_tf32
    products = torch.get_float32_matmul_precision()
    model.eval()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        for batch in batches:
            if len(batch.images):
                results.judge(run, batch.images, batch.targets)
            if not after_batch(batch):
                return False
    finally:
        model.train(was_training)
        torch.backends.cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision(products)
    return True
