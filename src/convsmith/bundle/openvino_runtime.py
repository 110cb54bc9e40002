"""Runs an ONNX model, or one of OpenVINO's own format, with OpenVINO. Needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.onnx_work import Work
from convsmith.bundle.runtime import EMBEDDINGS, INPUT, OUTPUT, no_embeddings
from convsmith.devices import ON_CPU, Way
from convsmith.errors import ConvsmithError, require_extra
from convsmith.machine import available_cores

_REPEATING = (b"<body", b"<port_map", b"<then_", b"<else_")  # elements of TensorIterator, Loop and If


class OpenVinoRuntime:
    """A model in memory; `run` may be called from several threads at once.

    As many calls run side by side as their threads go into the cores of this process; further ones wait.

    Args:
        model: an ONNX model as `OnnxRuntime` takes it, or the XML of OpenVINO's format.
        weights: what belongs to the XML; None with ONNX.
        threads: how many threads one call may use on the CPU; None takes all cores of this process.
        way: the device, and the type that float layers compute in; without a type OpenVINO would take bf16 where the
            CPU has it, and give other logits than those that were proved.

    Raises:
        ConvsmithError: openvino is not installed or cannot read the model, or its input and output are others.
    """

    def __init__(
        self, model: bytes, weights: bytes | None = None, threads: int | None = None, way: Way = ON_CPU["openvino"]
    ) -> None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise require_extra("openvino", "running a model with OpenVINO") from error
        settings: dict[str, Any] = {**way.options, "PERFORMANCE_HINT": "LATENCY"}
        if way.on_cpu:
            threads = threads or available_cores()
            streams = max(1, available_cores() // threads)  # with one, all callers would share the threads of one call
            settings |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
        core = openvino.Core()
        self._work: Work | None = None
        try:
            if weights is None:
                self._work = Work(model)
            elif any(mark in model for mark in _REPEATING):
                raise ValueError("it has an operator with a graph of its own, which may never end")
            network = core.read_model(model) if weights is None else core.read_model(model, weights)
            if way.one_image:
                network.reshape([1, *list(network.inputs[0].partial_shape)[1:]])
            self._network = core.compile_model(network, way.place.provider, settings)
        except ConvsmithError:
            raise
        except Exception as error:  # of OpenVINO, and of onnxruntime, whose exceptions share no base of their own
            raise ConvsmithError("OpenVINO cannot load the model", _last_line(error)) from error
        names = [OUTPUT, EMBEDDINGS]
        inputs, outputs = _ports(self._network.inputs, [INPUT]), _ports(self._network.outputs, names)
        known = [(name, "f32") for name in names]
        if inputs != [(INPUT, "u8")] or outputs not in (known[:1], known):
            raise ConvsmithError(
                "the model is not one of convsmith",
                f"it maps {inputs} to {outputs} instead of uint8 `{INPUT}` to float `{OUTPUT}`",
            )
        shape = self._network.inputs[0].partial_shape
        self._sides = [side.get_length() if side.is_static else None for side in shape]
        self._one_image = way.one_image
        self._idle: list[Any] = []

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""
        return self._run(images)[0]

    def run_with_embeddings(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The logits of images, and their embeddings [N, D]; a ConvsmithError where the model has none."""
        if len(self._network.outputs) < 2:
            raise no_embeddings()
        logits, embeddings = self._run(images)
        return logits, embeddings

    def _run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """All outputs: it computes no others."""
        if self._one_image and len(images) > 1:
            return [np.concatenate(parts) for parts in zip(*(self._run(it[None]) for it in images), strict=True)]
        if any(fixed not in (None, side) for fixed, side in zip(self._sides, images.shape, strict=True)):
            # OpenVINO would answer with no logits at all, or with those of something else
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}", "its size is another")
        if self._work is not None:
            self._work.check(images.shape)
        try:
            request = self._idle.pop()  # a request serves one thread at a time
        except IndexError:
            request = self._network.create_infer_request()
        try:
            given = request.infer([images])
            outputs: list[NDArray[np.float32]] = [given[i] for i in range(len(self._network.outputs))]
        except RuntimeError as error:
            raise ConvsmithError(
                f"the model cannot run on images of shape {images.shape}", _last_line(error)
            ) from error
        finally:
            self._idle.append(request)
        return outputs


def _ports(ports: Any, wanted: list[str]) -> list[tuple[str, str]]:
    """Name and type of each; where what follows was merged into it, a port has several names."""
    names = [next((name for name in wanted if name in port.names), port.any_name) for port in ports]
    return [(name, port.element_type.get_type_name()) for name, port in zip(names, ports, strict=True)]


def _last_line(error: Exception) -> str:
    """The cause in an error of OpenVINO; the lines before it say where in OpenVINO's code."""
    return str(error).strip().split("\n")[-1]


def openvino_devices() -> list[str]:
    """The devices that OpenVINO sees, by its own names; none where it is not installed."""
    try:
        import openvino
    except ModuleNotFoundError:
        return []
    return list(openvino.Core().available_devices)
