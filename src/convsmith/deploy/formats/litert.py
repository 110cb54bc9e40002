"""LiteRT (once TensorFlow Lite), for phones and microcontrollers. It takes one image at a time.

`litert-torch` asks for older versions of packages that convsmith uses: give it an environment of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.machine import available_cores

_FILE = "model.tflite"


class _Interpreter:
    def __init__(self, content: bytes, threads: int | None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=threads or available_cores())
        self._interpreter.allocate_tensors()
        (self._images,) = (tensor["index"] for tensor in self._interpreter.get_input_details())
        (self._logits,) = (tensor["index"] for tensor in self._interpreter.get_output_details())

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([self._run(image[None]) for image in images])

    def _run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._images, image)
        self._interpreter.invoke()
        logits: NDArray[np.float32] = self._interpreter.get_tensor(self._logits)
        return logits


def _export(source: Exportable) -> Files:
    import litert_torch
    import torch

    from convsmith.deploy.onnx_export import channels_of, quiet

    source.require_one_size("LiteRT")
    with quiet(), tempfile.TemporaryDirectory() as folder:
        example = torch.zeros(1, channels_of(source.trained), *source.size, dtype=torch.uint8)
        litert_torch.convert(source.trained, (example,)).export(f"{folder}/{_FILE}")
        return {_FILE: (Path(folder) / _FILE).read_bytes()}


def _open(files: Files, threads: int | None) -> Runtime:
    return _Interpreter(files[_FILE], threads)


FORMAT = Format(
    "for phones and microcontrollers; one image at a time",
    _export,
    _open,
    extra="litert",
    needs_model=True,
    embeddings=False,
)
