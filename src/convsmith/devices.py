"""The devices that models run on and learn on: all that convsmith knows of one is its row here. Imports no runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from convsmith.errors import ConvsmithError, did_you_mean

Engine = Literal["onnxruntime", "openvino"]


@dataclass(frozen=True)
class Place:
    """Where a model runs.

    Attributes:
        runtime: what computes, as `--runtime` takes it, or the format of a bundle that has its own.
        device: what it computes on, as `--device` takes it.
        provider: what the runtime calls that.
    """

    runtime: str
    device: str
    provider: str


def engine_of(runtime: str) -> Engine:
    """The package that a runtime belongs to."""
    return "openvino" if runtime.startswith("openvino") else "onnxruntime"


@dataclass(frozen=True)
class Way:
    """A way to run a model: a runtime on a kind of device.

    Attributes:
        place: of the model that runs so.
        options: of the provider. Float32 stays float32, as it was proved, where the device has it.
        package: what brings the provider.
        number: the option that says which of several devices, or `provider` where its name ends in the number.
        helpers: other providers, for the layers that this one does not take.
        chosen: `auto` takes it where it is there; else it must be asked for.
        one_call: calls of several threads come one after another.
        one_image: the model is compiled for a single image.
    """

    place: Place
    options: Mapping[str, str] = field(default_factory=dict)
    package: str = ""
    number: str = ""
    helpers: Sequence[str] = ()
    chosen: bool = True
    one_call: bool = False
    one_image: bool = False

    @property
    def engine(self) -> Engine:
        """The package that computes."""
        return engine_of(self.place.runtime)

    @property
    def on_cpu(self) -> bool:
        """Whether it needs nothing but its package."""
        return self.place.device == "cpu"

    def numbered(self, number: str) -> Way:
        """The same way to the device of that number, where they have numbers."""
        if not (number and self.number):
            return self
        device, provider = self.place.device, self.place.provider
        if self.number == "provider":
            return replace(
                self, place=replace(self.place, device=f"{device}:{number}", provider=f"{provider}.{number}")
            )
        kind = self.options.get(self.number)
        options = {**self.options, self.number: f"{kind}.{number}" if kind else number}
        return replace(self, place=replace(self.place, device=f"{device}:{number}"), options=options)


_F32 = {"INFERENCE_PRECISION_HINT": "f32"}
_CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}  # an exhaustive search would begin with each new size
_MLPROGRAM = {"ModelFormat": "MLProgram"}  # the older kind computes in float16

WAYS = (
    Way(Place("onnxruntime", "cuda", "CUDAExecutionProvider"), _CUDA, "onnxruntime-gpu[cuda,cudnn]", "device_id"),
    Way(
        Place("tensorrt", "cuda", "TensorrtExecutionProvider"),
        package="onnxruntime-gpu[cuda,cudnn]",
        number="device_id",
        helpers=("CUDAExecutionProvider",),
    ),
    Way(Place("onnxruntime", "coreml", "CoreMLExecutionProvider"), _MLPROGRAM, "onnxruntime on a Mac"),
    Way(
        Place("onnxruntime", "directml", "DmlExecutionProvider"),
        package="onnxruntime-directml on Windows",
        number="device_id",
        one_call=True,
    ),
    Way(
        Place("onnxruntime", "xpu", "OpenVINOExecutionProvider"),
        {"device_type": "GPU", "precision": "FP32"},
        "onnxruntime-openvino",
        "device_type",
    ),
    Way(
        Place("onnxruntime", "npu", "OpenVINOExecutionProvider"),
        {"device_type": "NPU"},
        "onnxruntime-openvino",
        chosen=False,
        one_image=True,
    ),
    Way(Place("onnxruntime", "cpu", "CPUExecutionProvider")),
    Way(Place("openvino", "xpu", "GPU"), _F32, "openvino and Intel's driver", "provider"),
    Way(Place("openvino", "npu", "NPU"), {}, "openvino and Intel's driver", chosen=False, one_image=True),
    Way(Place("openvino", "cpu", "CPU"), _F32),
    Way(Place("openvino-bf16", "cpu", "CPU"), {"INFERENCE_PRECISION_HINT": "bf16"}),
)
"""The strongest first."""

ON_CPU: dict[str, Way] = {way.place.runtime: way for way in WAYS if way.on_cpu}
"""The way of each runtime that is always there."""

RUNTIMES = tuple(dict.fromkeys(way.place.runtime for way in WAYS))
_KINDS = tuple(dict.fromkeys(way.place.device for way in WAYS))
_OTHER_NAMES = {"gpu": ("cuda", "coreml", "directml", "xpu"), "mps": ("coreml",)}
DEVICES = ("auto", "cpu", "gpu", *(kind for kind in _KINDS if kind != "cpu"))
"""Names that `--device` takes; `gpu` is any of the GPUs."""


def parsed(device: str, here: Callable[[], Sequence[str]]) -> tuple[str, str]:
    """The kind of a device, of `DEVICES`, and its number, empty where it is not said.

    Args:
        device: what a user wrote.
        here: gives the devices that installed packages have, for an error.

    Raises:
        ConvsmithError: there is no such device.
    """
    kind, colon, number = device.lower().partition(":")
    if kind not in (*DEVICES, *_OTHER_NAMES) or bool(colon) != (number.isascii() and number.isdecimal()):
        raise ConvsmithError(
            f"there is no device `{device}`{did_you_mean(kind, DEVICES)}",
            f"packages that are installed here have {', '.join(here())}",
            f"There are {', '.join(DEVICES)}; cuda:1 is the second GPU of its kind.",
        )
    return kind, number


def ways(engines: Sequence[Engine], runtime: str | None, device: str, here: Callable[[], Sequence[str]]) -> list[Way]:
    """Ways to run a file, in the order in which they are tried; the last one is a CPU.

    Args:
        engines: the packages that take the file, the usual one first.
        runtime: the one that is wanted, of `RUNTIMES`; None: the usual one, or another that has the device.
        device: one of `DEVICES`, with `:1` for the second of its kind; `auto` is the strongest.
        here: gives the devices that installed packages have, for an error.

    Raises:
        ConvsmithError: there is no such device, or the runtime never runs on it.
    """
    kind, number = parsed(device, here)
    kinds = _OTHER_NAMES.get(kind, (kind,))
    found = [
        way
        for engine in (engines if runtime or kind != "auto" else engines[:1])
        for way in WAYS
        if way.engine == engine
        and way.place.runtime == (runtime or engine)
        and (way.chosen if kind == "auto" else way.place.device in kinds)
        and (way.number or not number)
    ]
    if not found:
        wanted = (runtime,) if runtime else engines
        others = dict.fromkeys(way.place.device for way in WAYS if way.place.runtime in wanted)
        raise ConvsmithError(
            f"{' and '.join(wanted)} does not run on {device}",
            f"it runs on {', '.join(others)}",
            "Choose another --device, or another --runtime.",
        )
    if not found[-1].on_cpu:
        kinds = (*kinds, *(way.place.device for way in found), "cpu")
        found += [
            way
            for way in WAYS
            if way.place.runtime == found[0].engine and way.place.device in kinds and way not in found
        ]
    return [way.numbered(number) for way in found]


@dataclass(frozen=True)
class Accelerator:
    """A kind of device that trainings compute on.

    Attributes:
        name: what torch calls it.
        group: how several processes talk on it; without a way, they train on the CPU.
        double: it computes in float64.
        queues: it works on its own while Python goes on, so that copies from pinned memory and events pay.
        compiles: what torch.compile makes for it may be faster, and is tried.
        varies: what of a training is not the same, bit for bit, each time.
    """

    name: str
    group: str = ""
    double: bool = False
    queues: bool = False
    compiles: bool = True
    varies: str = ""


ACCELERATORS = {
    it.name: it
    for it in (
        Accelerator(
            "cuda",
            group="nccl",
            double=True,
            queues=True,
            varies="convolutions and matrix products compute alike each time on one kind of GPU; what CUDA has no such "
            "way for, as gradients of bilinear upsampling and of losses of pixels, may differ in the last bits",
        ),
        Accelerator(
            "xpu",
            group="xccl",
            queues=True,
            varies="torch promises nothing of Intel's GPUs: a run that goes on may differ in the last bits from one "
            "that never stopped",
        ),
        Accelerator(
            "mps",
            compiles=False,
            varies="torch promises nothing of Apple's GPUs: a run that goes on may differ in the last bits from one "
            "that never stopped",
        ),
        Accelerator("cpu", group="gloo", double=True),
    )
}
"""The first that is there trains."""
