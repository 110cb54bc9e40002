"""A trained model as one ONNX file that takes bytes."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import onnx
import onnx_ir
import onnxscript
import torch
from torch import Tensor, nn

from convsmith.deploy.fold import fold_constants
from convsmith.models.base import SegmentationModel
from convsmith.models.layers import Normalize
from convsmith.spec import Preprocessing, Size

OPSET = 20
"""The first with GELU as one operation; onnxruntime takes it from 1.17 on."""
OPSETS = (18, 19, 20, 21, 22, 23)
"""What `export_onnx` was tried with."""

# What a model for any size is traced with. Unequal primes, large enough that no map of the network has a side of one
# position: what happens to be equal, divisible or 1 in the example, the tracer may take for granted.
_ANY_SIZE = (211, 269)


class _FromBytes(nn.Module):
    def __init__(self, model: nn.Module, preprocess: Preprocessing) -> None:
        super().__init__()
        self.normalize = Normalize(preprocess.mean, preprocess.std)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        inputs = self.normalize(images)
        logits: Tensor = self.model.segment(inputs) if isinstance(self.model, SegmentationModel) else self.model(inputs)
        return logits


def inference_model(model: nn.Module, preprocess: Preprocessing) -> nn.Module:
    """A copy of `model` for the CPU, in eval mode, that maps uint8 images [N, 3, H, W] to float32 logits.

    They are [N, K], or [N, K, H, W] of a segmentation model: the prediction, without logits that only training needs.
    """
    return _FromBytes(copy.deepcopy(model), preprocess).cpu().eval().to(memory_format=torch.contiguous_format)


def export_onnx(model: nn.Module, size: Size, any_size: bool = False, opset: int = OPSET) -> bytes:
    """The ONNX file of an `inference_model`: input `images`, output `logits`, any batch size, weights included.

    Args:
        model: what `inference_model` returned.
        size: height and width of the input images in pixels.
        any_size: let them have any other size too.
        opset: version of ONNX's operators, one of `OPSETS`.
    """
    example, dynamic_shapes = example_of(size, any_size)
    with quiet():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=dynamic_shapes,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        fold_constants(program.model)
        for node in program.model.graph:
            node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)  # it has the paths of this machine
        return bytes(program.model_proto.SerializeToString())


def with_fixed_size(onnx_file: bytes, size: Size) -> bytes:
    """An ONNX model that took images of any size, for one height and width; what depends on them becomes constant."""
    model = onnx.load_from_string(onnx_file)
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    for dimension, side in zip(dimensions[2:], size, strict=True):
        dimension.dim_value = side
    del model.graph.value_info[:]  # they name the sizes that were free
    for dimension, side in zip(model.graph.output[0].type.tensor_type.shape.dim[2:], size, strict=True):
        dimension.dim_value = side
    program = onnx_ir.from_proto(model)
    onnxscript.optimizer.optimize(program)
    fold_constants(program)
    return bytes(onnx_ir.to_proto(program).SerializeToString())


def example_of(size: Size, any_size: bool) -> tuple[Tensor, dict[str, Any]]:
    """Images to trace an `inference_model` with, and which of their dimensions are free, as `torch.export` takes it."""
    free = torch.export.Dim.DYNAMIC
    height, width = _ANY_SIZE if any_size else size
    example = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    return example, {"images": {0: free, 2: free, 3: free} if any_size else {0: free}}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a converter's notes on its own internals from the user's screen, and what it prints out of our output."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
