"""Runs what torch can call, behind the interface of the torch-free runtimes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convsmith.errors import ConvsmithError


class TorchRuntime:
    """A model in memory.

    Args:
        model: maps uint8 images [N, 3, H, W] to float32 logits [N, K], or [N, K, H, W], on the CPU.
        threads: how many threads torch may use, in the whole process; None leaves that as it is.
        one_by_one: give the model one image at a time, because it takes no more.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], threads: int | None = None, one_by_one: bool = False) -> None:
        self._model, self._one_by_one = model, one_by_one
        if threads is not None:
            torch.set_num_threads(threads)

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""
        batch = torch.tensor(images)  # a copy: torch takes neither read-only nor mirrored arrays
        try:
            if self._one_by_one:
                return torch.cat([self._model(image[None]) for image in batch]).numpy()
            return self._model(batch).numpy()
        except (RuntimeError, AssertionError) as error:  # the latter is what torch.export guards sizes with
            reason = str(error).strip().split("\n")[-1]
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}", reason) from error
