"""Which runtime opens the files of a bundle. All of these need no torch."""

from __future__ import annotations

from collections.abc import Mapping

from convsmith.bundle.openvino_runtime import OpenVinoRuntime, Precision
from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.errors import ConvsmithError, did_you_mean

RUNTIMES = ("onnxruntime", "openvino", "openvino-bf16")
_ONNX_FORMATS = ("onnx", "onnx-fp16")
_ONNX, _OPENVINO = "model.onnx", ("model.xml", "model.bin")


def open_runtime(
    files: Mapping[str, bytes], file_format: str, threads: int | None = None, runtime: str | None = None
) -> Runtime:
    """The model of a bundle's verified files.

    Args:
        files: content by name.
        file_format: what the manifest calls it.
        threads: how many threads one call may use; None takes all cores of this process.
        runtime: one of `RUNTIMES`; None takes onnxruntime for ONNX, and OpenVINO in float32 for its own format.

    Raises:
        ConvsmithError: none of these runtimes takes the files, or not the one that is wanted.
    """
    if runtime not in (None, *RUNTIMES):
        raise ConvsmithError(
            f"there is no runtime `{runtime}`{did_you_mean(str(runtime), RUNTIMES)}",
            fix=f"There are {', '.join(RUNTIMES)}.",
        )
    is_onnx = file_format in _ONNX_FORMATS and _ONNX in files
    if is_onnx and runtime in (None, "onnxruntime"):
        return OnnxRuntime(files[_ONNX], threads)
    precision: Precision = "bf16" if runtime == "openvino-bf16" else "f32"
    if is_onnx:
        return OpenVinoRuntime(files[_ONNX], None, threads, precision)
    if file_format == "openvino" and all(name in files for name in _OPENVINO) and runtime != "onnxruntime":
        xml, weights = (files[name] for name in _OPENVINO)
        return OpenVinoRuntime(xml, weights, threads, precision)
    if runtime is not None:
        raise ConvsmithError(f"{runtime} cannot run this bundle", f"its format is {file_format}")
    raise ConvsmithError(
        f"the bundle's format is {file_format}",
        "prediction runs onnx and openvino",
        "`convsmith evaluate` and `convsmith benchmark` run every format; export the run as onnx or openvino to "
        "predict and serve.",
    )
