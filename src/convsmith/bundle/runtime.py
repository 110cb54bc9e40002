"""Runtimes of models, and onnxruntime as one such, on a stated number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.onnx_content import check_onnx
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

INPUT, OUTPUT = "images", "logits"

Infer = Callable[[NDArray[Any]], NDArray[np.float32]]
"""A model as a function: images [N, 3, H, W] to logits [N, K], or [N, K, H, W]. What it returns stays as it is."""


class Runtime(Protocol):
    """A model in memory; `run` may be called from several threads at once."""

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""


class OnnxRuntime:
    """A model in memory; `run` may be called from several threads at once.

    Args:
        model: an ONNX model with the input `images` (uint8 [N, 3, H, W]) and the output `logits` (float32 [N, K], or
            [N, K, H, W]).
        threads: how many threads one call may use; None takes all cores of this process.

    Raises:
        ConvsmithError: onnxruntime cannot read the model, its input and output are others, or it would do more than
            compute.
    """

    def __init__(self, model: bytes, threads: int | None = None) -> None:
        import onnxruntime

        options = session_options(threads or available_cores())
        try:
            check_onnx(model)
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise ConvsmithError("onnxruntime cannot load the model", str(error)) from error
        inputs = [(value.name, value.type) for value in self._session.get_inputs()]
        outputs = [(value.name, value.type) for value in self._session.get_outputs()]
        if inputs != [(INPUT, "tensor(uint8)")] or outputs != [(OUTPUT, "tensor(float)")]:
            raise ConvsmithError(
                "the model is not one of convsmith",
                f"it maps {inputs} to {outputs} instead of uint8 `{INPUT}` to float `{OUTPUT}`",
            )

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""
        try:
            outputs: list[Any] = self._session.run([OUTPUT], {INPUT: images})
        except Exception as error:  # see above
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}", str(error)) from error
        logits: NDArray[np.float32] = outputs[0]
        return logits


def session_options(threads: int) -> SessionOptions:
    """Options with which onnxruntime runs every model here, on so many threads."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait, by default for milliseconds, starve every other process of a shared machine.
    # Those that never do fall asleep between any two layers. So many microseconds bridge most of these gaps.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "10")
    options.log_severity_level = 4  # its errors are raised, so they need not be printed too
    return options
