"""ExecuTorch with XNNPACK, for phones and other small machines. It takes one image at a time."""

from __future__ import annotations

from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Files, Format, Source

_FILE = "model.pte"


def _export(source: Source) -> Files:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from convsmith.deploy.onnx_export import quiet

    source.require_one_size("ExecuTorch")
    with quiet():
        example = torch.zeros(1, 3, *source.size, dtype=torch.uint8)
        program = torch.export.export(source.trained, (example,))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        return {_FILE: bytes(lowered.to_executorch().buffer)}


def _open(files: Files, threads: int | None) -> Runtime:
    from executorch.runtime import Runtime as ExecuTorch

    from convsmith.deploy.torch_runtime import TorchRuntime

    method = ExecuTorch.get().load_program(files[_FILE]).load_method("forward")
    # what it returns lies in memory that the next call writes to
    return TorchRuntime(lambda images: method.execute([images])[0].clone(), threads, one_by_one=True)


FORMAT = Format("for phones, on their CPUs; one image at a time", _export, _open, extra="executorch", needs_model=True)
