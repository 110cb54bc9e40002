"""A TensorRT engine, built from the ONNX model for the NVIDIA GPU of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.runtime import INPUT, OUTPUT, Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.deploy.parity import FLOAT16
from convsmith.errors import ConvsmithError, install_command

_FILE = "model.engine"
_LARGEST_BATCH = 32


class _Engine:
    def __init__(self, content: bytes) -> None:
        import tensorrt

        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise ConvsmithError(
                "TensorRT cannot load the engine", "it was built for another GPU or version", "Export it here."
            )
        self._context = self._engine.create_execution_context()

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [self._run(images[i : i + _LARGEST_BATCH]) for i in range(0, len(images), _LARGEST_BATCH)]
        return np.concatenate(parts)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        batch = torch.tensor(images, device="cuda")
        if not self._context.set_input_shape(INPUT, tuple(batch.shape)):
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}")
        logits = torch.empty(tuple(self._context.get_tensor_shape(OUTPUT)), device="cuda")
        self._context.set_tensor_address(INPUT, batch.data_ptr())
        self._context.set_tensor_address(OUTPUT, logits.data_ptr())
        stream = torch.cuda.current_stream()
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}")
        stream.synchronize()
        return logits.cpu().numpy()


def build_engine(tensorrt: Any, source: Exportable) -> bytes:
    """The serialised engine, made by the module `tensorrt` or one of the same interface."""
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(source.onnx):
        raise ConvsmithError("TensorRT cannot read the ONNX model", str(parser.get_error(0)))
    profile, (height, width) = builder.create_optimization_profile(), source.size
    channels = network.get_input(0).shape[1]
    smallest, usual, largest = ((batch, channels, height, width) for batch in (1, 8, _LARGEST_BATCH))
    profile.set_shape(INPUT, smallest, usual, largest)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ConvsmithError("TensorRT cannot build the engine", "its own messages say why")
    return bytes(engine)


def _export(source: Exportable) -> Files:
    _need_gpu()
    import tensorrt

    source.require_one_size("TensorRT")
    return {_FILE: build_engine(tensorrt, source)}


def _open(files: Files, threads: int | None) -> Runtime:  # noqa: ARG001
    _need_gpu()
    return _Engine(files[_FILE])


def _need_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ConvsmithError(
            "TensorRT needs an NVIDIA GPU and its driver",
            "torch sees none on this machine, so no engine could be tuned or proved here",
            f"Export there with {install_command('tensorrt')}; or take onnx, which TensorRT's trtexec reads.",
        )


FORMAT = Format(  # on a GPU float32 means TF32, whose products have 11 bits
    "an engine for this machine's NVIDIA GPU",
    _export,
    _open,
    extra="tensorrt",
    tolerance=FLOAT16,
    is_code=True,
    device="cuda",
    embeddings=False,
)
