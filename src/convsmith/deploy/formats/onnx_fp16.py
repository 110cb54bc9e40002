"""ONNX with weights and arithmetic in float16, for GPUs and phones: half the size, no faster on most CPUs."""

from __future__ import annotations

from convsmith.bundle.format import MODEL
from convsmith.deploy.format import Files, Format, Source
from convsmith.deploy.formats.onnx import FORMAT as ONNX
from convsmith.deploy.parity import FLOAT16


def _export(source: Source) -> Files:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # logits stay float32, images bytes
    model = convert_float_to_float16(onnx.load_from_string(source.onnx), keep_io_types=True)
    return {MODEL: model.SerializeToString()}


FORMAT = Format("ONNX in float16, half the size, for GPUs", _export, ONNX.open, tolerance=FLOAT16)
