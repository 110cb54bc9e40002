"""The formats, one file each; see `convsmith.deploy.format`."""

from __future__ import annotations

import pkgutil

AUTO = "auto"
"""Stands for the fastest of `CANDIDATES` on this machine."""

CANDIDATES = ("onnx", "openvino")
"""Formats in float32 that `predict` and `serve` run without torch; of equally fast ones the first."""


def list_formats() -> list[str]:
    """The names of all formats, sorted."""
    return sorted(file.name.replace("_", "-") for file in pkgutil.iter_modules(__path__))
