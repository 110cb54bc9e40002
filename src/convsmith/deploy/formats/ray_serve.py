"""The ONNX model with an application of Ray Serve: `serve run deployment:app` in the folder."""

from __future__ import annotations

from pathlib import Path

from convsmith.bundle.format import Manifest
from convsmith.deploy.format import Files, Format
from convsmith.deploy.formats.onnx import FORMAT as ONNX

_APPLICATION = Path(__file__).parents[1] / "ray" / "deployment.py"


def _add(manifest: Manifest, files: Files) -> Files:  # noqa: ARG001  # the application finds them
    return {_APPLICATION.name: _APPLICATION.read_bytes()}


FORMAT = Format("an application of Ray Serve, on one machine or many", ONNX.export, ONNX.open, add=_add)
