"""Proof that an exported model says what the trained one says, on real images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.errors import ConvsmithError

# Largest difference of logits, relative to the largest logit: float32 rounding through some hundred layers.
TOLERANCE = 1e-4


@torch.inference_mode()
def measure_parity(
    model: nn.Module, run_exported: Callable[[NDArray[np.uint8]], NDArray[np.float32]], batches: Iterable[Tensor]
) -> dict[str, float]:
    """Compare two forms of a model.

    Args:
        model: maps uint8 images [N, 3, H, W] to logits [N, K], or [N, K, H, W].
        run_exported: the same for arrays, in the artefact's own runtime.
        batches: real images, uint8 [N, 3, H, W]; batches may differ in size.

    Returns:
        `images`, `max_abs_diff` and `mean_abs_diff` of the logits, `top1_agreement` (of images or pixels, 0 to 1).

    Raises:
        ConvsmithError: the difference is beyond float32 rounding.
    """
    images, worst, largest = 0, 0.0, 1.0
    total = agreeing = answers = values = 0.0
    for batch in batches:
        expected, exported = model(batch).numpy(), run_exported(batch.numpy())
        difference = np.abs(expected - exported)
        images += len(batch)
        worst = float(np.maximum(worst, difference.max()))  # NaN stays
        largest = max(largest, float(np.abs(expected).max()))
        total += float(difference.sum(dtype=np.float64))
        values += difference.size
        same = expected.argmax(1) == exported.argmax(1)
        agreeing += float(same.sum())
        answers += same.size
    if not images:
        raise ConvsmithError("the export cannot be proved", "not one image can be read", "Repair or replace them.")
    allowed = TOLERANCE * largest
    if not worst <= allowed:
        raise ConvsmithError(
            "the exported model does not say what the trained one says",
            f"on {images} images their logits differ by up to {worst:.3g}, and {allowed:.3g} is allowed",
            "Nothing was written. Please report this with the recipe.",
        )
    return {
        "images": images,
        "max_abs_diff": worst,
        "mean_abs_diff": total / values,
        "top1_agreement": agreeing / answers,
    }
