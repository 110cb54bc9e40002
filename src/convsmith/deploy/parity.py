"""Proof that an exported model says what the trained one says, on real images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.runtime import Infer, Runtime, run_with_embeddings
from convsmith.bundle.task import find_task
from convsmith.errors import ConvsmithError, counted
from convsmith.spec import Size

if TYPE_CHECKING:  # evaluate runs where torch is not installed
    from torch import Tensor, nn


@dataclass(frozen=True)
class Tolerance:
    """How far an artefact may be from the model that it was made of.

    Attributes:
        logits: largest difference of logits, relative to the largest logit.
        agreement: smallest share of images, or of pixels, to which both give the same class; one may always differ.
        snr_db: smallest signal-to-noise ratio of the logits.
    """

    logits: float = math.inf
    agreement: float = 0.0
    snr_db: float = -math.inf


TOLERANCE = 1e-4
FLOAT32 = Tolerance(TOLERANCE, snr_db=60.0)
"""Rounding through some hundred layers leaves 100 dB and more; where all logits are small, this is what tells."""
FLOAT16 = Tolerance(2e-2, agreement=0.99)
"""Eleven bits of each activation: the largest logit moves by a percent where the smallest margins are crossed."""
INT8 = Tolerance(agreement=0.75, snr_db=12.0)
"""Where a value lies between two levels, runtimes round it to different ones, and the next layers carry that on:
trained models are left 30 dB and more, deep ones with random weights 15. What this cannot tell from a fault, such as a
slightly wrong normalisation, is found in the float graph, before integers are put into it."""

ONE_LEVEL = Tolerance(2 / 255, agreement=0.99, snr_db=35.0)
"""Likewise, where but one tensor is rounded while the model runs, so that nothing carries it on."""

_MOST_DB = 200.0  # float32 itself has less
_TINY = 1e-30

_ANSWERS, _LEAST = 256, 8
_PIXELS = _ANSWERS * 224 * 224


def images_to_compare(task: str, size: Size) -> int:
    """How many images of that height and width prove an export: 256 answers, fewer where that takes too long.

    Each pixel of a segmented image is an answer, so the least number of images, 8, does.
    """
    answers = math.prod(find_task(task).logits_shape(1, size))
    return max(_LEAST, min(_ANSWERS // answers, _PIXELS // math.prod(size)))


class Parity:
    """Gathers how far two forms of a model are apart.

    Args:
        exclusive: whether the highest logit is the answer, and no more than differences of logits count; else each
            class is there where its logit is above 0.
    """

    def __init__(self, exclusive: bool = True) -> None:
        self.images, self._exclusive = 0, exclusive
        self._worst, self._largest = 0.0, 1.0
        self._total = self._values = self._agreeing = self._answers = self._signal = self._noise = 0.0

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
        with np.errstate(invalid="ignore", over="ignore"):  # of what is not finite, which `figures` refuses
            signal, noise = (self._counting(x) for x in (expected, expected - exported))
            self._signal += float(np.square(signal).sum(dtype=np.float64))
            self._noise += float(np.square(noise).sum(dtype=np.float64))
        same = self._answers_of(expected) == self._answers_of(exported)
        self._agreeing += float(same.sum())
        self._answers += same.size

    def _counting(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The part of logits that answers depend on: what is added to all of a pixel changes no highest one."""
        return logits - logits.mean(axis=1, keepdims=True) if self._exclusive else logits

    def _answers_of(self, logits: NDArray[np.float32]) -> NDArray[Any]:
        return logits.argmax(1) if self._exclusive else logits > 0

    def distance(self) -> dict[str, float]:
        """The logits' `max_abs_diff`, `mean_abs_diff` and `snr_db`, the signal-to-noise ratio: 200 if equal."""
        ratio = _MOST_DB
        if self._noise != 0:
            ratio = 10 * math.log10(max(self._signal / self._noise, _TINY))
        return {
            "max_abs_diff": self._worst,
            "mean_abs_diff": self._total / self._values,
            "snr_db": min(max(ratio, -_MOST_DB), _MOST_DB),
        }

    def figures(self, tolerance: Tolerance) -> dict[str, float]:
        """`images`, what `distance` has, and `top1_agreement` (of images or pixels, 0 to 1).

        Raises:
            ConvsmithError: the difference is beyond the tolerance, or nothing was compared.
        """
        if not self.images:
            raise ConvsmithError("the export cannot be proved", "not one image can be read", "Repair or replace them.")
        allowed, agreement = tolerance.logits * self._largest, self._agreeing / self._answers
        distance = self.distance()
        why = ""
        if not self._worst <= allowed:
            why = f"their logits differ by up to {self._worst:.3g}, and {allowed:.3g} is allowed"
        elif self._answers - self._agreeing > max(1, (1 - tolerance.agreement) * self._answers):
            why = f"they agree on {agreement:.2%} of the answers, and {tolerance.agreement:.2%} is asked for"
        elif not distance["snr_db"] >= tolerance.snr_db:
            why = (
                f"their logits are {distance['snr_db']:.1f} dB above the noise, and {tolerance.snr_db:g} are asked for"
            )
        if why:
            raise ConvsmithError(
                "the exported model does not say what the trained one says",
                f"on {counted(self.images, 'image')} {why}",
                "Nothing was written. Please report this with the recipe.",
            )
        return {"images": self.images, **distance, "top1_agreement": agreement}


def measure_parity(
    model: nn.Module,
    run_exported: Infer,
    batches: Iterable[Tensor],
    tolerance: Tolerance = FLOAT32,
    *,
    exclusive: bool = True,
) -> dict[str, float]:
    """Compare a model with its export.

    Args:
        model: maps uint8 images [N, 3, H, W] to logits [N, K], or [N, K, H, W].
        run_exported: the same for arrays, in the artefact's own runtime.
        batches: real images, uint8 [N, 3, H, W]; batches may differ in size.
        tolerance: how far they may be apart.
        exclusive: see `Parity`.

    Returns:
        What `Parity.figures` does.

    Raises:
        ConvsmithError: they are farther apart, or the model's logits are not finite.
    """
    from convsmith.deploy.torch_runtime import TorchRuntime

    parity, trained = Parity(exclusive), TorchRuntime(model)
    for batch in batches:
        expected = trained.run(batch.numpy())
        if not np.isfinite(expected).all():
            raise ConvsmithError(
                "the trained model gives logits that are not finite numbers",
                "a training that diverged leaves such weights",
                "Nothing was written. Train again with a lower optimizer.lr.",
            )
        parity.add(expected, run_exported(batch.numpy()))
    return parity.figures(tolerance)


def measure_embeddings(
    model: nn.Module, exported: Runtime, batches: Iterable[Tensor], tolerance: Tolerance
) -> tuple[dict[str, float], int]:
    """Compare the embeddings of a model with those of its export, and count the numbers of one, D.

    Args:
        model, batches, tolerance: see `measure_parity`; the model has a second output [N, D].
        exported: the artefact in its own runtime.

    Raises:
        ConvsmithError: they are farther apart than `tolerance`, but for its agreement: embeddings decide nothing.
    """
    from convsmith.deploy.torch_runtime import TorchRuntime

    parity, trained, length = Parity(exclusive=False), TorchRuntime(model), 0
    for batch in batches:
        expected, given = (run_with_embeddings(it, batch.numpy())[1] for it in (trained, exported))
        parity.add(expected, given)
        length = expected.shape[1]
    return embedding_figures(parity, tolerance), length


def embedding_figures(parity: Parity, tolerance: Tolerance) -> dict[str, float]:
    """Figures of `Parity.figures` that embeddings have: differences alone."""
    figures = parity.figures(replace(tolerance, agreement=0.0))
    del figures["top1_agreement"]
    return figures
