"""Runs what torch can call, behind the interface of the torch-free runtimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convsmith.bundle.runtime import no_embeddings
from convsmith.errors import ConvsmithError


class TorchRuntime:
    """A model in memory.

    Args:
        model: maps uint8 images [N, 3, H, W] to float32 logits [N, K], or [N, K, H, W], on the CPU; or to these and
            embeddings [N, D].
        threads: how many threads torch may use, in the whole process; None leaves that as it is.
        one_by_one: give the model one image at a time, because it takes no more.
    """

    def __init__(self, model: Callable[[Tensor], Any], threads: int | None = None, one_by_one: bool = False) -> None:
        self._model, self._one_by_one = model, one_by_one
        if threads is not None:
            torch.set_num_threads(threads)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""
        return self._run(images)[0]

    def run_with_embeddings(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The logits of images, and their embeddings [N, D]; a ConvsmithError where the model gives none."""
        outputs = self._run(images)
        if len(outputs) < 2:
            raise no_embeddings()
        return outputs[0], outputs[1]

    @torch.inference_mode()
    def _run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        batch = torch.tensor(images)  # a copy: torch takes neither read-only nor mirrored arrays
        try:
            if self._one_by_one:
                parts = [_as_list(self._model(image[None])) for image in batch]
                return [torch.cat(outputs).numpy() for outputs in zip(*parts, strict=True)]
            return [output.numpy() for output in _as_list(self._model(batch))]
        except (RuntimeError, AssertionError) as error:  # the latter is what torch.export guards sizes with
            reason = str(error).strip().split("\n")[-1]
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}", reason) from error


def _as_list(outputs: Any) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, tuple | list) else [outputs]
