"""One ONNX file, which onnxruntime and most other runtimes take."""

from __future__ import annotations

from convsmith.bundle.format import MODEL
from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.deploy.format import Exportable, Files, Format


def _export(source: Exportable) -> Files:
    return {MODEL: source.onnx}


def _open(files: Files, threads: int | None) -> Runtime:
    return OnnxRuntime(files[MODEL], threads)


FORMAT = Format("one file for onnxruntime and most other runtimes", _export, _open)
