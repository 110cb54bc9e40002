"""Devices that are not here: onnxruntime's providers that say they run and compute on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnxruntime import GraphOptimizationLevel

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
COREML, DIRECTML, OPENVINO = "CoreMLExecutionProvider", "DmlExecutionProvider", "OpenVINOExecutionProvider"
ALL = (TENSORRT, CUDA, COREML, DIRECTML, OPENVINO, CPU)


class Providers:
    """What onnxruntime has from now on.

    Args:
        patch: puts it back.
        listed: providers that the package has.
        starting: those of them whose libraries and driver are there.
        changed: what a device makes of the logits that the CPU gives.

    Attributes:
        asked: the providers of each session that was made to run, with their options.
        options: that these sessions got.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        listed: Collection[str],
        starting: Collection[str] | None = None,
        changed: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda logits: logits,
    ) -> None:
        asked: list[list[tuple[str, dict[str, str]]]] = []
        all_options: list[Any] = []
        starts = {CPU, *(listed if starting is None else starting)}

        class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
            def __init__(self, model: bytes, options: Any, providers: list[Any], **_kwargs: Any) -> None:
                named = [(it, {}) if isinstance(it, str) else it for it in providers]
                if options.graph_optimization_level != GraphOptimizationLevel.ORT_ENABLE_BASIC:  # which only weighs
                    asked.append(named)
                    all_options.append(options)
                self.started = [name for name, _ in named if name in starts]
                super().__init__(model, options, providers=[CPU])

            def get_providers(self) -> list[str]:
                return self.started

            def run(self, *arguments: Any) -> list[NDArray[np.float32]]:
                (logits,) = super().run(*arguments)
                return [logits if self.started[0] == CPU else changed(logits)]

        self.asked, self.options = asked, all_options
        patch.setattr(onnxruntime, "get_available_providers", lambda: [*listed])
        patch.setattr(onnxruntime, "InferenceSession", Session)
