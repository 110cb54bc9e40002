"""AOTInductor: the model compiled to a library for this kind of CPU, run by torch from Python or C++."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.errors import ConvsmithError

_FILE = "model.pt2"


def _export(source: Exportable) -> Files:
    import torch

    from convsmith.deploy.onnx_export import example_of, quiet

    if shutil.which("g++") is None:
        raise ConvsmithError("AOTInductor needs the compiler g++", "it is not installed here", "apt install g++")
    example, dynamic_shapes = example_of(source.trained, source.size, source.any_size)
    with quiet(), tempfile.TemporaryDirectory() as folder, torch.no_grad():
        program = torch.export.export(source.trained, (example,), dynamic_shapes=dynamic_shapes)
        package = torch._inductor.aoti_compile_and_package(program, package_path=f"{folder}/{_FILE}")
        return {_FILE: Path(package).read_bytes()}


def _open(files: Files, threads: int | None) -> Runtime:
    import torch

    from convsmith.deploy.torch_runtime import TorchRuntime

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / _FILE
        package.write_bytes(files[_FILE])
        return TorchRuntime(torch._inductor.aoti_load_package(str(package)), threads)


FORMAT = Format(
    "compiled for this kind of CPU; needs g++ and a minute or two", _export, _open, needs_model=True, is_code=True
)
