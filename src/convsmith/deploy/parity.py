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
        model: maps uint8 images [N, 3, H, W] to logits [N, K].
        run_exported: the same for arrays, in the artefact's own runtime.
        batches: real images, uint8 [N, 3, H, W].

    Returns:
        `images`, `max_abs_diff` and `mean_abs_diff` of the logits, `top1_agreement` (0 to 1).

    Raises:
        ConvsmithError: the difference is beyond float32 rounding.
    """
    pairs = [(model(batch).numpy(), run_exported(batch.numpy())) for batch in batches]
    expected = np.concatenate([a for a, _ in pairs])
    exported = np.concatenate([b for _, b in pairs])
    difference = np.abs(expected - exported)
    worst = float(difference.max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not worst <= allowed:  # also catches NaN
        raise ConvsmithError(
            "the exported model does not say what the trained one says",
            f"on {len(expected)} images their logits differ by up to {worst:.3g}, and {allowed:.3g} is allowed",
            "Nothing was written. Please report this with the recipe.",
        )
    return {
        "images": len(expected),
        "max_abs_diff": worst,
        "mean_abs_diff": float(difference.mean()),
        "top1_agreement": float((expected.argmax(1) == exported.argmax(1)).mean()),
    }
