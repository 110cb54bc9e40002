"""The ONNX model with an application of Ray Serve: `serve run deployment:app` in the folder."""

from __future__ import annotations

from pathlib import Path

from convsmith.bundle.format import MODEL, Manifest
from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.deploy.format import Exportable, Files, Format

_APPLICATION = Path(__file__).parents[1] / "ray" / "deployment.py"


def _export(source: Exportable) -> Files:
    return {MODEL: source.onnx}


def _open(files: Files, threads: int | None) -> Runtime:
    return OnnxRuntime(files[MODEL], threads)


def _add(manifest: Manifest, files: Files) -> Files:  # noqa: ARG001  # the application finds them
    return {_APPLICATION.name: _APPLICATION.read_bytes()}


FORMAT = Format("an application of Ray Serve, on one machine or many", _export, _open, add=_add)
