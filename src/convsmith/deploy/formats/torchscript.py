"""TorchScript, for libtorch and for servers that want it; torch calls it deprecated, and has not removed it."""

from __future__ import annotations

import io

from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format

_FILE = "model.ts"


def _export(source: Exportable) -> Files:
    import torch

    from convsmith.deploy.onnx_export import example_of, quiet

    example, _ = example_of(source.trained, source.size, source.any_size)
    content = io.BytesIO()
    with quiet(), torch.no_grad():
        traced = torch.jit.trace(source.trained, example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(torch.jit.freeze(traced), content)  # freezing folds BatchNorm
    return {_FILE: content.getvalue()}


def _open(files: Files, threads: int | None) -> Runtime:
    import torch

    from convsmith.deploy.onnx_export import quiet
    from convsmith.deploy.torch_runtime import TorchRuntime

    with quiet():
        model = torch.jit.load(io.BytesIO(files[_FILE]), "cpu")  # type: ignore[no-untyped-call]
    return TorchRuntime(model, threads)


FORMAT = Format(
    "for libtorch in C++ and older servers; deprecated by torch", _export, _open, needs_model=True, is_code=True
)
