"""Which runtime opens the files of a bundle, and on which device. All of these need no torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.forking import device_is_lost, use_device
from convsmith.bundle.lending import lending_if_faster
from convsmith.bundle.onnx_work import Work
from convsmith.bundle.openvino_runtime import OpenVinoRuntime, openvino_devices
from convsmith.bundle.openvino_trial import try_model
from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.devices import ON_CPU, RUNTIMES, WAYS, Engine, Place, Way, engine_of, parsed, ways
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.spec import Size

logger = logging.getLogger(__name__)

_ONNX_FORMATS = ("onnx", "onnx-fp16", "web", "kserve", "ray-serve")
_ONNX, _OPENVINO = "model.onnx", ("model.xml", "model.bin")
Shape = tuple[int, int, int]
"""Channels, height and width."""
_ANY_SIZE = (64, 64)
_NOISE = 0.01  # of the logits' power, 20 dB: INT8 in another runtime may differ so far, wrong layers differ by more


def takes(file_format: str) -> bool:
    """Whether `open_runtime` runs bundles of a format."""
    return file_format in (*_ONNX_FORMATS, "openvino")


def open_runtime(
    files: Mapping[str, bytes],
    file_format: str,
    threads: int | None = None,
    runtime: str | None = None,
    device: str = "auto",
    *,
    size: Size | None = None,
    channels: int = 3,
    threads_alone: int | None = None,
) -> tuple[Runtime, Place]:
    """The model of a bundle's verified files, and where it runs.

    A device that is not there, that cannot load the model, or whose logits of an image of noise are not those of the
    CPU, is passed over with one line in the log.

    Args:
        files: content by name.
        file_format: what the manifest calls it.
        threads: how many threads one call may use on a CPU; None takes all cores of this process.
        runtime: one of `RUNTIMES`; None takes onnxruntime for ONNX, and OpenVINO in float32 for its own format; or,
            where only the other one has the device, that.
        device: one of `DEVICES`, with `:1` for the second of its kind.
        size: height and width of the images that the model takes; None: any.
        channels: of them.
        threads_alone: as `load` takes it.

    Raises:
        ConvsmithError: none of these runtimes takes the files, or not the one that is wanted; there is no such device,
            or no runtime of the files ever runs on it.
    """
    kind = check_place(runtime, device)
    engines = _engines(files, file_format)
    if runtime is not None and engine_of(runtime) not in engines:
        raise ConvsmithError(f"{runtime} cannot run this bundle", f"its format is {file_format}")
    if not engines:
        raise ConvsmithError(
            f"the bundle's format is {file_format}",
            "prediction runs onnx and openvino",
            "`convsmith evaluate` and `convsmith benchmark` run every format; export the run as onnx or openvino to "
            "predict and serve.",
        )

    shape = channels, *(size or _ANY_SIZE)

    def load(way: Way) -> Runtime:
        opened = load_on(threads, way)
        if not way.on_cpu or threads is None or threads_alone is None or threads_alone <= threads:
            return opened
        work = opened.work if isinstance(opened, OnnxRuntime) else None
        return lending_if_faster(opened, load_on(threads_alone, way, work), _noise(shape))

    def load_on(threads: int | None, way: Way, work: Work | None = None) -> Runtime:
        if way.engine == "onnxruntime":
            return OnnxRuntime(files[_ONNX], threads, way, work)
        if _ONNX in files:
            return OpenVinoRuntime(files[_ONNX], None, threads, way)
        xml, weights = (files[name] for name in _OPENVINO)
        try_model(xml, weights)
        return OpenVinoRuntime(xml, weights, threads, way)

    tried = ways(engines, runtime, device, devices_here)
    if kind == "auto":  # what was not named, and is not there, is not spoken of
        tried = [way for way in tried if way.on_cpu or way.place.runtime == "tensorrt" or not _missing(way)]
    asked = " on ".join(it for it in (runtime, "" if kind == "auto" else device) if it)
    return _first(tried, asked, load, shape)


def devices_here() -> list[str]:
    """Devices that the installed packages can use, by the names of `--device`, be there such or not."""
    return [*dict.fromkeys(way.place.device for way in WAYS if way.on_cpu or not _missing(way))]


def check_place(runtime: str | None, device: str) -> str:
    """The kind of a device, without its number; a ConvsmithError where there is no runtime or device of that name."""
    if runtime not in (None, *RUNTIMES):
        raise ConvsmithError(
            f"there is no runtime `{runtime}`{did_you_mean(str(runtime), RUNTIMES)}",
            fix=f"There are {', '.join(RUNTIMES)}.",
        )
    return parsed(device, devices_here)[0]


def _engines(files: Mapping[str, bytes], file_format: str) -> tuple[Engine, ...]:
    """The packages that take the files, the usual one first."""
    if file_format in _ONNX_FORMATS and _ONNX in files:
        return ("onnxruntime", "openvino")
    return ("openvino",) if file_format == "openvino" and all(name in files for name in _OPENVINO) else ()


def _first(tried: Sequence[Way], asked: str, load: Callable[[Way], Runtime], shape: Shape) -> tuple[Runtime, Place]:
    """The first way that works, of some of which the last is a CPU.

    Args:
        tried: in order.
        asked: runtime and device that the user named, in words.
        load: opens the model.
        shape: of an image.
    """
    passed_over: list[str] = []
    if device_is_lost() and not tried[0].on_cpu:
        passed_over.append("a process that was forked cannot use it; one that is spawned can")
        tried = [way for way in tried if way.on_cpu]
    for way in tried:
        if way.on_cpu:
            model = load(way)
        elif why := _missing(way):
            passed_over.append(why)
            continue
        else:
            try:
                model = load(way)
                _compare(model, load(ON_CPU[way.engine]), shape)
            except ConvsmithError as error:
                passed_over.append(f"{way.place.provider}: {error.why or error.what}")
                continue
            use_device()
        if passed_over:
            reasons = "; ".join(dict.fromkeys(passed_over))
            logger.warning(
                "%s is not used (%s): the model runs on %s", asked or "the strongest device", reasons, way.place.device
            )
        return model, way.place
    raise AssertionError("there is no CPU among the ways")


def _missing(way: Way) -> str:
    """Why the installed packages do not have it; empty where they do."""
    if way.engine == "openvino":
        there = {name.partition(".")[0] for name in openvino_devices()}
        has = way.place.provider.partition(".")[0] in there
        return "" if has else f"OpenVINO sees no {way.place.provider}: it takes {way.package}"
    import onnxruntime

    has = way.place.provider in onnxruntime.get_available_providers()
    return "" if has else f"onnxruntime has no {way.place.provider}, which comes with {way.package}"


def _compare(model: Runtime, proved: Runtime, shape: Shape) -> None:
    """Raise a ConvsmithError unless a model on a device says of an image what the proved one says on the CPU."""
    noise = _noise(shape)
    expected, given = (it.run(noise).astype(np.float64) for it in (proved, model))
    if not np.isfinite(expected).all():
        return
    if given.shape != expected.shape or not np.square(given - expected).sum() <= _NOISE * np.square(expected).sum():
        raise ConvsmithError("the device computes something else", "its logits are not those of the CPU")


def _noise(shape: Shape) -> NDArray[np.uint8]:
    """An image [1, C, H, W]."""
    return np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
