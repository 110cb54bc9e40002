"""ExecuTorch with XNNPACK, for phones and other small machines. It takes one image at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores

if TYPE_CHECKING:
    from torch import Tensor

_FILE = "model.pte"


def _export(source: Exportable) -> Files:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from convsmith.deploy.onnx_export import channels_of, quiet

    source.require_one_size("ExecuTorch")
    with quiet():
        example = torch.zeros(1, channels_of(source.trained), *source.size, dtype=torch.uint8)
        program = torch.export.export(source.trained, (example,))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        return {_FILE: bytes(lowered.to_executorch().buffer)}


class _Program:
    """The method, and the program that it points into and does not keep alive."""

    def __init__(self, content: bytes, threads: int | None) -> None:
        from executorch.runtime import Runtime as ExecuTorch

        self.threads = _set_threads(threads)
        self._program = ExecuTorch.get().load_program(content)
        self._method = self._program.load_method("forward")
        _programs.add(self)

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = self._method.execute([images])[0]
        return logits


_programs: WeakSet[_Program] = WeakSet()


def _set_threads(threads: int | None) -> int:
    """Threads of XNNPACK's pool: one for the process, which torch's setting does not reach and each program uses."""
    from executorch.extension.pybindings import portable_lib

    other = next(iter(_programs), None)  # all have the same number; on another they would run on a pool that is gone
    if other is not None:
        if threads not in (None, other.threads):
            raise ConvsmithError(
                f"the executorch file cannot run on {threads} threads",
                f"another one is open, and all of a process share one number of threads, here {other.threads}",
                "Let go of the other one first, or ask for as many threads.",
            )
        return other.threads
    wanted = threads or available_cores()
    portable_lib._unsafe_reset_threadpool(wanted)
    return wanted


def _open(files: Files, threads: int | None) -> Runtime:
    from convsmith.deploy.torch_runtime import TorchRuntime

    return TorchRuntime(_Program(files[_FILE], threads), threads, one_by_one=True)


FORMAT = Format(
    "for phones, on their CPUs; one image at a time",
    _export,
    _open,
    extra="executorch",
    needs_model=True,
    embeddings=False,
)
