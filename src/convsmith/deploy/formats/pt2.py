"""The graph that `torch.export` gives, for everything that goes on from there with torch."""

from __future__ import annotations

import io

from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format

_FILE = "model.pt2"


def _export(source: Exportable) -> Files:
    import torch

    from convsmith.deploy.onnx_export import example_of, quiet

    example, dynamic_shapes = example_of(source.trained, source.size, source.any_size)
    content = io.BytesIO()
    with quiet():
        torch.export.save(torch.export.export(source.trained, (example,), dynamic_shapes=dynamic_shapes), content)
    return {_FILE: content.getvalue()}


def _open(files: Files, threads: int | None) -> Runtime:
    import torch

    from convsmith.deploy.torch_runtime import TorchRuntime

    return TorchRuntime(torch.export.load(io.BytesIO(files[_FILE])).module(), threads)


FORMAT = Format("torch.export's graph, with the weights", _export, _open, needs_model=True, is_code=True)
