"""Proof that an exported model says what the trained one says, on real images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ConvsmithError, counted
from convsmith.spec import Size

if TYPE_CHECKING:  # evaluate runs where torch is not installed
    from torch import Tensor, nn

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From images [N, 3, H, W] to logits, as `OnnxRuntime.run`."""


@dataclass(frozen=True)
class Tolerance:
    """How far an artefact may be from the model that it was made of.

    Attributes:
        logits: largest difference of logits, relative to the largest logit.
        agreement: smallest share of images, or of pixels, to which both give the same class; one may always differ.
    """

    logits: float
    agreement: float = 0.0


TOLERANCE = 1e-4
FLOAT32 = Tolerance(TOLERANCE)
"""Rounding through some hundred layers."""
FLOAT16 = Tolerance(2e-2, agreement=0.99)
"""Eleven bits of each activation: the largest logit moves by a percent where the smallest margins are crossed."""


_IMAGES = 256
_PIXELS = _IMAGES * 224 * 224


def images_to_compare(size: Size) -> int:
    """How many images of that height and width prove an export in reasonable time."""
    return min(_IMAGES, max(8, _PIXELS // (size[0] * size[1])))


class Parity:
    """Gathers how far two forms of a model are apart."""

    def __init__(self) -> None:
        self.images = 0
        self._worst, self._largest = 0.0, 1.0
        self._total = self._values = self._agreeing = self._answers = 0.0

    def add(self, expected: NDArray[np.float32], exported: NDArray[np.float32]) -> None:
        """Compare logits of the same images, [N, K] or [N, K, H, W].

        Raises:
            ConvsmithError: their shapes differ.
        """
        if expected.shape != exported.shape:
            raise ConvsmithError(
                "the exported model does not say what the trained one says",
                f"it gives logits {exported.shape} instead of {expected.shape}",
                "Nothing was written. Please report this with the recipe.",
            )
        difference = np.abs(expected - exported)
        self.images += len(expected)
        self._worst = float(np.maximum(self._worst, difference.max()))  # NaN stays
        self._largest = max(self._largest, float(np.abs(expected).max()))
        self._total += float(difference.sum(dtype=np.float64))
        self._values += difference.size
        same = expected.argmax(1) == exported.argmax(1)
        self._agreeing += float(same.sum())
        self._answers += same.size

    def figures(self, tolerance: Tolerance = FLOAT32) -> dict[str, float]:
        """`images`, `max_abs_diff` and `mean_abs_diff` of the logits, `top1_agreement` (of images or pixels, 0 to 1).

        Raises:
            ConvsmithError: the difference is beyond the tolerance, or nothing was compared.
        """
        if not self.images:
            raise ConvsmithError("the export cannot be proved", "not one image can be read", "Repair or replace them.")
        allowed, agreement = tolerance.logits * self._largest, self._agreeing / self._answers
        why = ""
        if not self._worst <= allowed:
            why = f"their logits differ by up to {self._worst:.3g}, and {allowed:.3g} is allowed"
        elif self._answers - self._agreeing > max(1, (1 - tolerance.agreement) * self._answers):
            why = f"they agree on {agreement:.2%} of the answers, and {tolerance.agreement:.2%} is asked for"
        if why:
            raise ConvsmithError(
                "the exported model does not say what the trained one says",
                f"on {counted(self.images, 'image')} {why}",
                "Nothing was written. Please report this with the recipe.",
            )
        return {
            "images": self.images,
            "max_abs_diff": self._worst,
            "mean_abs_diff": self._total / self._values,
            "top1_agreement": agreement,
        }


def measure_parity(model: nn.Module, run_exported: Run, batches: Iterable[Tensor]) -> dict[str, float]:
    """Compare a model with its export in float32.

    Args:
        model: maps uint8 images [N, 3, H, W] to logits [N, K], or [N, K, H, W].
        run_exported: the same for arrays, in the artefact's own runtime.
        batches: real images, uint8 [N, 3, H, W]; batches may differ in size.

    Returns:
        What `Parity.figures` does.

    Raises:
        ConvsmithError: the difference is beyond float32 rounding.
    """
    from convsmith.deploy.torch_runtime import TorchRuntime

    parity, trained = Parity(), TorchRuntime(model)
    for batch in batches:
        parity.add(trained.run(batch.numpy()), run_exported(batch.numpy()))
    return parity.figures()
