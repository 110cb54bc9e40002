"""Core ML, for Apple's machines, on which alone it runs: so it is exported there, where it can be proved.

The package is a zip file in the bundle, which macOS unpacks by a double click. It takes one image at a time, as float32
[1, C, H, W] in 0 to 255, because Core ML has no inputs of bytes.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.runtime import INPUT, OUTPUT, Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.errors import ConvsmithError

_FILE = "model.mlpackage.zip"


class _Model:
    def __init__(self, content: bytes) -> None:
        import coremltools

        self._folder = tempfile.TemporaryDirectory()  # the model reads its files as long as it lives
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            package.extractall(self._folder.name)
        self._model = coremltools.models.MLModel(
            f"{self._folder.name}/model.mlpackage", compute_units=coremltools.ComputeUnit.CPU_ONLY
        )

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate(
            [self._model.predict({INPUT: image[None].astype(np.float32)})[OUTPUT] for image in images]
        )


def convert(source: Exportable) -> bytes:
    """The zipped package; this works on any system."""
    import coremltools
    import torch

    from convsmith.deploy.onnx_export import channels_of, quiet

    with quiet(), tempfile.TemporaryDirectory() as folder:
        example = torch.zeros(1, channels_of(source.trained), *source.size)
        program = torch.export.export(source.trained, (example,)).run_decompositions()
        model = coremltools.convert(
            program,
            inputs=[coremltools.TensorType(INPUT)],
            outputs=[coremltools.TensorType(OUTPUT)],
            compute_precision=coremltools.precision.FLOAT32,
            minimum_deployment_target=coremltools.target.iOS16,
        )
        model.save(f"{folder}/model.mlpackage")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as package:
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    package.write(path, path.relative_to(folder))
        return content.getvalue()


def _export(source: Exportable) -> Files:
    source.require_one_size("Core ML")
    _need_macos()
    return {_FILE: convert(source)}


def _open(files: Files, threads: int | None) -> Runtime:  # noqa: ARG001
    _need_macos()
    return _Model(files[_FILE])


def _need_macos() -> None:
    if sys.platform != "darwin":
        raise ConvsmithError(
            "Core ML runs on macOS only", "so nothing here could prove the model", "Export the run on a Mac."
        )


FORMAT = Format(
    "for Apple's machines, made on one of them", _export, _open, extra="coreml", needs_model=True, embeddings=False
)
