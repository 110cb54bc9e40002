"""A trained model as one ONNX file that takes bytes."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from convsmith.models.base import SegmentationModel
from convsmith.models.layers import Normalize
from convsmith.spec import Preprocessing, Size

OPSET = 18

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


def export_onnx(model: nn.Module, size: Size, any_size: bool = False) -> bytes:
    """The ONNX file of an `inference_model`: input `images`, output `logits`, any batch size, weights included.

    Args:
        model: what `inference_model` returned.
        size: height and width of the input images in pixels.
        any_size: let them have any other size too.
    """
    free = torch.export.Dim.DYNAMIC
    height, width = _ANY_SIZE if any_size else size
    example = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: free, 2: free, 3: free} if any_size else {0: free}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        return bytes(program.model_proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on its own internals from the user's screen."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
