"""One pass over the validation images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.data.loader import Batch
from convsmith.tasks.base import TaskTraining, ValidationResults
from convsmith.training.divergence import first_non_finite
from convsmith.training.memory import OutOfMemory, out_of_memory_is_named

logger = logging.getLogger(__name__)


class NotFinite(Exception):
    """The model gives logits that are infinite, or not numbers.

    Args:
        layer: the first that does, if it is known.
    """

    def __init__(self, layer: str | None) -> None:
        super().__init__(layer)
        self.layer = layer


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    task: TaskTraining[Any],
    as_input: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    results: ValidationResults,
    *,
    after_batch: Callable[[Batch], None] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Run the model in eval mode and float32 over all batches, so that the figures are those of the exported model.

    Args:
        model: what is judged.
        task: says what of the model's outputs is the prediction.
        as_input: maps uint8 images to normalised ones on the model's device.
        batches: uint8 images with targets.
        results: judges them.
        after_batch: called with each batch once it is judged.
        stopping: asked then whether to leave it at that.

    Returns:
        Whether all batches were seen.

    Raises:
        OutOfMemory: not even one image fits; a batch that does not is gone through in parts.
        NotFinite: the model gives logits that are not finite numbers, whose order means nothing.
    """

    most: int | None = None  # images that memory has room for, where it has not for a batch

    def ask(images: Tensor) -> NDArray[np.float32]:
        with out_of_memory_is_named(len(images)):
            logits = task.logits(model, as_input(images)).float()
            if not bool(torch.stack(torch.aminmax(logits)).isfinite().all()):
                raise NotFinite(first_non_finite(model, lambda: task.logits(model, as_input(images))))
            return logits.cpu().numpy()

    def infer(pixels: NDArray[Any]) -> NDArray[np.float32]:
        nonlocal most
        images = torch.from_numpy(pixels)
        while True:
            at_once = min(most or len(images), len(images))
            try:
                logits = [ask(part) for part in torch.split(images, at_once)]
                return np.concatenate(logits) if len(logits) > 1 else logits[0]
            except OutOfMemory as error:
                if at_once == 1:
                    raise
                most = at_once // 2
                logger.warning("evaluation: %s (%s); it goes on with %d at a time", error.what, error.why, most)

    was_training, tf32 = model.training, torch.backends.cudnn.allow_tf32
    products = torch.get_float32_matmul_precision()
    model.eval()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        for batch in batches:
            if len(batch.images):
                results.judge(infer, batch.images, batch.targets)
            after_batch(batch)
            if stopping():
                return False
    finally:
        model.train(was_training)
        torch.backends.cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision(products)
    return True
