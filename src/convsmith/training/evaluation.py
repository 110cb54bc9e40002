"""One pass over the validation images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.data.loading.loader import Batch
from convsmith.tasks.base import ValidationResults
from convsmith.training.divergence import first_non_finite
from convsmith.training.memory import OutOfMemory, out_of_memory_is_named
from convsmith.training.parts import Parts
from convsmith.training.precision import autocast

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
    parts: Parts,
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    after_batch: Callable[[Batch], None] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> ValidationResults | None:
    """Run a model in eval mode over all batches; in float32 the figures are those of the exported model.

    Args:
        parts: what else is needed, and the arithmetic.
        model: what is judged: the one in training, or its average.
        batches: uint8 images with targets.
        after_batch: called with each batch once it is judged.
        stopping: asked then whether to leave it at that.

    Returns:
        How right it is; None if not all batches were seen.

    Raises:
        OutOfMemory: not even one image fits; a batch that does not is gone through in parts.
        NotFinite: the model gives logits that are not finite numbers, whose order means nothing.
    """

    task, as_input, results = parts.task, parts.as_input, parts.new_results()
    most: int | None = None  # images that memory has room for, where it has not for a batch

    def ask(images: Tensor) -> NDArray[np.float32]:
        with out_of_memory_is_named(len(images)), autocast(parts.eval_precision, parts.device.type):
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
                return None
    finally:
        model.train(was_training)
        torch.backends.cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision(products)
    return results
