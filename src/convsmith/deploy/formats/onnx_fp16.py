"""ONNX with weights and arithmetic in float16, for GPUs and phones: half the size, no faster on most CPUs."""

from __future__ import annotations

from convsmith.bundle.format import MODEL
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.deploy.formats.onnx import FORMAT as ONNX
from convsmith.deploy.parity import FLOAT16
from convsmith.errors import ConvsmithError


def _export(source: Exportable) -> Files:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from convsmith.deploy.graph import is_int8

    model = onnx.load_from_string(source.onnx)
    if is_int8(model):
        raise ConvsmithError(
            "an INT8 bundle is not exported to onnx-fp16",
            "its integers are smaller already, and what they are scaled by is float32",
            "Export the float bundle, or use the INT8 bundle as it is.",
        )
    # logits stay float32, images bytes
    return {MODEL: convert_float_to_float16(model, keep_io_types=True).SerializeToString()}


FORMAT = Format("ONNX in float16, half the size, for GPUs", _export, ONNX.open, tolerance=FLOAT16)
