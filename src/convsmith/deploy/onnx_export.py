"""A trained model as one ONNX file that takes bytes."""

from __future__ import annotations

import copy
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnx_ir
import onnxscript
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from convsmith.bundle.runtime import EMBEDDINGS, INPUT, OUTPUT
from convsmith.deploy.fold import fold_constants
from convsmith.deploy.functional import traced_once
from convsmith.deploy.fuse import fuse_batch_norms
from convsmith.errors import ConvsmithError
from convsmith.models.base import SegmentationModel, VisionModel
from convsmith.models.fake_quant import rounding_of
from convsmith.models.layers import Normalize
from convsmith.spec import Preprocessing, Size

OPSET = 20
"""The first with GELU as one operation; onnxruntime takes it from 1.17 on."""
_FIRST = 18
"""The first that graphs of torch.export become; what is below, torch's older exporter makes by following one call."""
OPSETS = range(11, 24)
"""Versions that `export_onnx` was tried with."""
_AXES = ("batch", "", "height", "width")

# What a model for any size is traced with. Unequal primes, large enough that no map of the network has a side of one
# position: what happens to be equal, divisible or 1 in the example, the tracer may take for granted.
_ANY_SIZE = (211, 269)


class _FromBytes(nn.Module):
    def __init__(self, model: nn.Module, preprocess: Preprocessing, embeddings: bool) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.normalize = Normalize(preprocess.mean, preprocess.std)
        self.model = model

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        inputs, model = self.normalize(images), self.model
        run: Callable[[Tensor], Tensor] = model.segment if isinstance(model, SegmentationModel) else model
        if not self.embeddings:
            return run(inputs)
        assert isinstance(model, VisionModel)
        return model.with_embeddings(inputs, run)


def inference_model(model: nn.Module, preprocess: Preprocessing, embeddings: bool = False) -> nn.Module:
    """A copy of `model` for the CPU, in eval mode, that maps uint8 images [N, C, H, W] to float32 logits.

    They are [N, K], or [N, K, H, W] of a segmentation model: the prediction, without logits that only training needs.
    With `embeddings`, a second output are these, [N, D]; see `VisionModel.with_embeddings`.
    """
    exact = _FromBytes(copy.deepcopy(model), preprocess, embeddings)
    return exact.cpu().eval().to(memory_format=torch.contiguous_format)


def export_onnx(model: nn.Module, size: Size, any_size: bool = False, opset: int = OPSET) -> bytes:
    """The ONNX file of an `inference_model`: input `images`, output `logits`, any batch size, weights included.

    A model that gives embeddings has a second output of that name.

    Axes that are free are named `batch`, `height` and `width`.

    Args:
        model: what `inference_model` returned.
        size: height and width of the input images in pixels.
        any_size: let them have any other size too.
        opset: version of ONNX's operators, one of `OPSETS`.

    Raises:
        ConvsmithError: the model computes what an opset before 18 does not have.
    """
    example, dynamic_shapes = example_of(model, size, any_size)
    make = _of_trace if opset < _FIRST else _of_program
    return _with_named_axes(make(model, example, dynamic_shapes["images"], opset))


def _of_program(model: nn.Module, example: Tensor, free: dict[int, Any], opset: int) -> ModelProto:
    if rounding_of(model) is None:  # whose places are counted in the order of its layers
        model = copy.deepcopy(model).requires_grad_(False)  # else each operation is followed for its gradient too
        fuse_batch_norms(model, example[:1])

    def export() -> torch.onnx.ONNXProgram | None:
        return torch.onnx.export(
            model,
            (example,),
            input_names=[INPUT],
            output_names=_outputs_of(model),
            dynamic_shapes={"images": free},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )

    with quiet():
        try:
            with traced_once():
                program = export()
        except OnnxExporterError:
            program = export()
        assert program is not None
        fold_constants(program.model)
        for node in program.model.graph:
            node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)  # it has the paths of this machine
        return program.model_proto


def _of_trace(model: nn.Module, example: Tensor, free: dict[int, Any], opset: int) -> ModelProto:
    names = {axis: _AXES[axis] for axis in free}
    axes = {INPUT: names, OUTPUT: names, EMBEDDINGS: {0: _AXES[0]}}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        try:
            with quiet(), _silent_process():
                torch.onnx.export(
                    model,
                    (example,),
                    file,
                    input_names=[INPUT],
                    output_names=_outputs_of(model),
                    dynamic_axes={name: axes[name] for name in (INPUT, *_outputs_of(model))},
                    opset_version=opset,
                    dynamo=False,
                    verbose=False,
                )
        except Exception as error:  # of many kinds
            raise ConvsmithError(
                f"this model cannot be had in opset {opset}",
                re.split(r"\n|  \[Caused by", str(error).strip())[0],
                f"Take a higher --opset; with {_FIRST} and more every model can be exported.",
            ) from error
        return onnx.load(file)


def _outputs_of(model: nn.Module) -> list[str]:
    return [OUTPUT, EMBEDDINGS] if getattr(model, "embeddings", False) else [OUTPUT]


def _with_named_axes(model: ModelProto) -> bytes:
    """The file with names that say what the free axes are, instead of the exporter's `s77`."""
    images, graph = model.graph.input[0].type.tensor_type.shape, model.graph
    names = {dim.dim_param: name for dim, name in zip(images.dim, _AXES, strict=True) if dim.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:  # a name, or arithmetic with names
                dim.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), dim.dim_param)
    return bytes(model.SerializeToString())


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


def example_of(model: nn.Module, size: Size, any_size: bool) -> tuple[Tensor, dict[str, Any]]:
    """Images to trace an `inference_model` with, and which of their dimensions are free, as `torch.export` takes it."""
    free = torch.export.Dim.DYNAMIC
    height, width = _ANY_SIZE if any_size else size
    example = torch.zeros(2, channels_of(model), height, width, dtype=torch.uint8)
    return example, {"images": {0: free, 2: free, 3: free} if any_size else {0: free}}


def channels_of(model: nn.Module) -> int:
    """How many channels the images of an `inference_model` have."""
    assert isinstance(model, _FromBytes)
    return model.normalize.scale.shape[1]


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


@contextmanager
def _silent_process() -> Iterator[None]:
    """Keep what C++ code prints out of our output: torch's older exporter prints the whole graph before it raises."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
