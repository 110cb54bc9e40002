"""Ways to run a model on a device, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from convsmith.devices import ACCELERATORS, DEVICES, ON_CPU, RUNTIMES, WAYS, Engine, Place, engine_of, parsed, ways
from convsmith.errors import ConvsmithError

ORT: Sequence[Engine] = ("onnxruntime",)
VINO: Sequence[Engine] = ("openvino",)
BOTH: Sequence[Engine] = ("onnxruntime", "openvino")
CPU, VINO_CPU = "onnxruntime cpu CPUExecutionProvider", "openvino cpu CPU"
CUDA, RT = "onnxruntime cuda CUDAExecutionProvider", "tensorrt cuda TensorrtExecutionProvider"
COREML, DIRECTML = "onnxruntime coreml CoreMLExecutionProvider", "onnxruntime directml DmlExecutionProvider"
XPU, NPU = "onnxruntime xpu OpenVINOExecutionProvider", "onnxruntime npu OpenVINOExecutionProvider"


def here() -> Sequence[str]:
    return ("cpu", "cuda")


def said(place: Place) -> str:
    return f"{place.runtime} {place.device} {place.provider}"


@pytest.mark.parametrize(
    ("engines", "runtime", "device", "expected"),
    [
        (ORT, None, "auto", [CUDA, COREML, DIRECTML, XPU, CPU]),
        (BOTH, None, "auto", [CUDA, COREML, DIRECTML, XPU, CPU]),
        (VINO, None, "auto", ["openvino xpu GPU", VINO_CPU]),
        (ORT, None, "cpu", [CPU]),
        (BOTH, None, "cpu", [CPU, VINO_CPU]),
        (ORT, None, "cuda", [CUDA, CPU]),
        (ORT, None, "CUDA:3", ["onnxruntime cuda:3 CUDAExecutionProvider", CPU]),
        (BOTH, None, "gpu", [CUDA, COREML, DIRECTML, XPU, "openvino xpu GPU", CPU]),
        (BOTH, "openvino", "gpu:2", ["openvino xpu:2 GPU.2", VINO_CPU]),
        (ORT, None, "mps", [COREML, CPU]),
        (ORT, None, "npu", [NPU, CPU]),
        (VINO, None, "npu", ["openvino npu NPU", VINO_CPU]),
        (ORT, "tensorrt", "auto", [RT, CUDA, CPU]),
        (ORT, "tensorrt", "cuda:1", ["tensorrt cuda:1 TensorrtExecutionProvider",
                                     "onnxruntime cuda:1 CUDAExecutionProvider", CPU]),
        (VINO, "openvino-bf16", "auto", ["openvino-bf16 cpu CPU"]),
        (ORT, None, "directml:1", ["onnxruntime directml:1 DmlExecutionProvider", CPU]),
    ],
)  # fmt: skip
def test_ways_are_tried_in_order_and_the_last_is_a_cpu(
    engines: Sequence[Engine], runtime: str | None, device: str, expected: list[str]
) -> None:
    found = ways(engines, runtime, device, here)
    assert [said(way.place) for way in found] == expected
    assert found[-1].on_cpu


def test_the_number_of_a_device_goes_where_its_runtime_takes_it() -> None:
    cuda, *_ = ways(ORT, None, "cuda:3", here)
    xpu, *_ = ways(ORT, None, "xpu:1", here)
    assert cuda.options["device_id"] == "3"
    assert xpu.options == {"device_type": "GPU.1", "precision": "FP32"}
    assert xpu.place.device == "xpu:1"
    (cpu,) = ways(ORT, None, "cpu", here)
    assert cpu.numbered("1") == cpu


@pytest.mark.parametrize(
    ("engines", "runtime", "device", "problem"),
    [
        (ORT, None, "cpu:1", "onnxruntime does not run on cpu:1: it runs on cuda, coreml, directml, xpu, npu, cpu"),
        (ORT, "tensorrt", "cpu", "tensorrt does not run on cpu: it runs on cuda"),
        (VINO, None, "cuda", "openvino does not run on cuda: it runs on xpu, npu, cpu"),
        (BOTH, None, "npu:1", "onnxruntime and openvino does not run on npu:1: it runs on cuda,"),
        (ORT, None, "coreml:1", "onnxruntime does not run on coreml:1"),
    ],
)
def test_a_runtime_that_never_runs_there_is_an_error(
    engines: Sequence[Engine], runtime: str | None, device: str, problem: str
) -> None:
    with pytest.raises(ConvsmithError) as caught:
        ways(engines, runtime, device, here)
    assert f"{caught.value.what}: {caught.value.why}".startswith(problem)


@pytest.mark.parametrize("device", ["cudo", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "", "1"])
def test_another_word_is_not_a_device(device: str) -> None:
    with pytest.raises(ConvsmithError, match=f"there is no device `{device}`") as caught:
        parsed(device, here)
    assert caught.value.why == "packages that are installed here have cpu, cuda"


def test_names_of_devices_and_runtimes() -> None:
    assert parsed("Cuda:12", here) == ("cuda", "12")
    assert parsed("gpu", here) == ("gpu", "")
    assert DEVICES == ("auto", "cpu", "gpu", "cuda", "coreml", "directml", "xpu", "npu")
    assert RUNTIMES == ("onnxruntime", "tensorrt", "openvino", "openvino-bf16")
    assert [engine_of(it) for it in RUNTIMES] == ["onnxruntime", "onnxruntime", "openvino", "openvino"]
    assert [said(way.place) for way in ON_CPU.values()] == [CPU, VINO_CPU, "openvino-bf16 cpu CPU"]


def test_what_is_particular_to_a_way() -> None:
    assert {said(way.place) for way in WAYS if way.one_call} == {DIRECTML}
    assert {said(way.place) for way in WAYS if way.one_image} == {NPU, "openvino npu NPU"}
    assert {said(way.place) for way in WAYS if not way.chosen} == {NPU, "openvino npu NPU"}
    assert [way.helpers for way in WAYS if way.helpers] == [("CUDAExecutionProvider",)]


def test_accelerators_that_train() -> None:
    assert list(ACCELERATORS) == ["cuda", "xpu", "mps", "cpu"]
    assert [it.name for it in ACCELERATORS.values() if it.double] == ["cuda", "cpu"]
    assert [it.name for it in ACCELERATORS.values() if it.queues] == ["cuda", "xpu"]
    assert [it.name for it in ACCELERATORS.values() if not it.compiles] == ["mps"]
    assert [it.group for it in ACCELERATORS.values()] == ["nccl", "xccl", "", "gloo"]
    assert [it.name for it in ACCELERATORS.values() if not it.varies] == ["cpu"]
