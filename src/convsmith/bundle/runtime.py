"""Runtimes of models, and onnxruntime as one such, on a stated number of threads."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.onnx_sizes import quiet
from convsmith.bundle.onnx_work import Work
from convsmith.devices import ON_CPU, Way
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

INPUT, OUTPUT, EMBEDDINGS = "images", "logits", "embeddings"

Infer = Callable[[NDArray[Any]], NDArray[np.float32]]
"""A model as a function: images [N, 3, H, W] to logits [N, K], or [N, K, H, W]. What it returns stays as it is."""


class Runtime(Protocol):
    """A model in memory; `run` may be called from several threads at once."""

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""


@runtime_checkable
class EmbeddingRuntime(Runtime, Protocol):
    """A runtime that can give a second output."""

    def run_with_embeddings(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The logits of images [N, 3, H, W], and their embeddings [N, D]; a ConvsmithError where there are none."""


def run_with_embeddings(runtime: Runtime, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The logits of images [N, C, H, W] and their embeddings [N, D].

    Raises:
        ConvsmithError: the model has no such output.
    """
    if not isinstance(runtime, EmbeddingRuntime):
        raise no_embeddings()
    return runtime.run_with_embeddings(images)


def no_embeddings() -> ConvsmithError:
    """The error for a model whose one output are logits."""
    return ConvsmithError(
        "the model gives logits alone",
        "it was packed without embeddings",
        "Train with bundle.embeddings=true; or let `convsmith embed` cut them out of the ONNX file.",
    )


class OnnxRuntime:
    """A model in memory; `run` may be called from several threads at once.

    Args:
        model: an ONNX model with the input `images` (uint8 [N, 3, H, W]) and the output `logits` (float32 [N, K], or
            [N, K, H, W]); it may have a second one, `embeddings` (float32 [N, D]).
        threads: how many threads one call may use on the CPU; None takes all cores of this process.
        way: the execution provider.
        work: the model's, where it is weighed already, which takes as long as opening it.

    Attributes:
        work: likewise.

    Raises:
        ConvsmithError: onnxruntime cannot read the model, its input and output are others, it would do more than
            compute, or the provider does not take it.
    """

    def __init__(
        self,
        model: bytes,
        threads: int | None = None,
        way: Way = ON_CPU["onnxruntime"],
        work: Work | None = None,
    ) -> None:
        self._one_image = way.one_image
        self._turn = threading.Lock() if way.one_call else contextlib.nullcontext()
        options = session_options(threads or available_cores())
        try:
            self.work = work or Work(model)
            self._session = _session(model, options, way)
        except ConvsmithError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise ConvsmithError("onnxruntime cannot load the model", str(error)) from error
        inputs = [(value.name, value.type) for value in self._session.get_inputs()]
        outputs = [(value.name, value.type) for value in self._session.get_outputs()]
        known = [(OUTPUT, "tensor(float)"), (EMBEDDINGS, "tensor(float)")]
        if inputs != [(INPUT, "tensor(uint8)")] or outputs not in (known[:1], known):
            raise ConvsmithError(
                "the model is not one of convsmith",
                f"it maps {inputs} to {outputs} instead of uint8 `{INPUT}` to float `{OUTPUT}`",
            )

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""
        return self._run([OUTPUT], images)[0]

    def run_with_embeddings(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The logits of images, and their embeddings [N, D]; a ConvsmithError where the model has none."""
        if len(self._session.get_outputs()) < 2:
            raise no_embeddings()
        logits, embeddings = self._run([OUTPUT, EMBEDDINGS], images)
        return logits, embeddings

    def _run(self, outputs: list[str], images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        batches = [image[None] for image in images] if self._one_image else [images]
        try:
            self.work.check(images.shape)
            with self._turn:
                found: list[list[NDArray[np.float32]]] = [self._session.run(outputs, {INPUT: it}) for it in batches]
        except ConvsmithError:
            raise
        except Exception as error:  # see above
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}", str(error)) from error
        return [np.concatenate(parts) for parts in zip(*found, strict=True)] if self._one_image else found[0]


def _session(model: bytes, options: SessionOptions, way: Way) -> InferenceSession:
    """A session on the provider of a way; a RuntimeError where another one would compute in its place."""
    import onnxruntime

    provider = way.place.provider
    if way.on_cpu:
        return onnxruntime.InferenceSession(model, options, providers=[provider])
    if way.one_image:
        options.add_free_dimension_override_by_name("batch", 1)
    if way.one_call:
        options.enable_mem_pattern = False  # DirectML's calls come one after another, and it reuses no pattern
    with quiet(), contextlib.redirect_stdout(io.StringIO()):  # while it looks for the libraries: the outcome counts
        if way.place.device.startswith("cuda"):
            onnxruntime.preload_dlls()  # of the packages that onnxruntime-gpu[cuda,cudnn] brings
        providers = [(provider, dict(way.options)), *way.helpers, ON_CPU["onnxruntime"].place.provider]
        session = onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
    if provider not in session.get_providers()[:1]:
        raise RuntimeError(f"it does not start: its libraries, or the driver, are missing or do not fit {way.package}")
    return session


def session_options(threads: int) -> SessionOptions:
    """Options with which onnxruntime runs every model here, on so many threads."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait, by default for milliseconds, starve every other process of a shared machine.
    # Those that never do fall asleep between any two layers. So many microseconds bridge most of these gaps.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "10")
    options.log_severity_level = 4  # its errors are raised, so they need not be printed too
    return options
