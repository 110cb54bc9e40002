"""OpenVINO's own format, in float32: model.xml and model.bin. The fastest on Intel's CPUs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from convsmith.bundle.openvino_runtime import OpenVinoRuntime
from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.errors import ConvsmithError


def _export(source: Exportable) -> Files:
    import openvino

    model = openvino.Core().read_model(source.onnx)
    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        raise ConvsmithError(
            "an INT8 bundle is not exported to openvino",
            "OpenVINO rounds to other levels than onnxruntime, farther apart than the proof of an export allows",
            'Its ONNX file runs there as it is: cs.load(BUNDLE, runtime="openvino").',
        )
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, f"{folder}/model.xml", compress_to_fp16=False)  # the default would round weights
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _open(files: Files, threads: int | None) -> Runtime:
    return OpenVinoRuntime(files["model.xml"], files["model.bin"], threads)


FORMAT = Format("OpenVINO's own files, the fastest on Intel's CPUs", _export, _open, extra="openvino", other_ties=True)
