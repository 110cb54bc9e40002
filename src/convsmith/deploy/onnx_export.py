"""A trained model as one ONNX file that takes bytes."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from convsmith.models.layers import Normalize
from convsmith.spec import Preprocess

OPSET = 18


class _FromBytes(nn.Module):
    def __init__(self, model: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.normalize = Normalize(preprocess.mean, preprocess.std)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor | list[Tensor] = self.model(self.normalize(images))
        return output[-1] if isinstance(output, list) else output


def inference_model(model: nn.Module, preprocess: Preprocess) -> nn.Module:
    """A copy of `model` for the CPU, in eval mode, that maps uint8 images [N, 3, H, W] to float32 logits.

    They are [N, K], or [N, K, H', W'] of a segmentation model: the prediction, without logits that only training needs.
    """
    return _FromBytes(copy.deepcopy(model), preprocess).cpu().eval().to(memory_format=torch.contiguous_format)


def export_onnx(model: nn.Module, size: int) -> bytes:
    """The ONNX file of an `inference_model`: input `images`, output `logits`, any batch size, weights included.

    Args:
        model: what `inference_model` returned.
        size: side of the input image in pixels.
    """
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
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
