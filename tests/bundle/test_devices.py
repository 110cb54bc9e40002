"""Bundles on devices that are not here: which one is chosen, what it is given, and what happens if it fails."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle import forking, open_runtime, openvino_runtime
from convsmith.bundle.classification import Classification
from convsmith.bundle.openvino_runtime import OpenVinoRuntime
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.devices import DEVICES, WAYS, Place
from convsmith.errors import ConvsmithError
from tests.colours import LABELS, colour_model, picture
from tests.fake_devices import ALL, COREML, CPU, CUDA, DIRECTML, OPENVINO, TENSORRT, Providers


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves behind that a device was used."""
    monkeypatch.setattr(forking, "_device_in_use", False)


@pytest.mark.parametrize(
    ("device", "listed", "provider"),
    [
        ("auto", [CPU], CPU),
        ("auto", ["AzureExecutionProvider", CPU], CPU),
        ("auto", ALL, CUDA),
        ("auto", [COREML, CPU], COREML),
        ("auto", [DIRECTML, CPU], DIRECTML),
        ("auto", [OPENVINO, CPU], OPENVINO),
        ("cpu", ALL, CPU),
        ("CPU", ALL, CPU),
        ("cuda", ALL, CUDA),
        ("coreml", ALL, COREML),
        ("mps", ALL, COREML),
        ("directml", ALL, DIRECTML),
        ("xpu", ALL, OPENVINO),
        ("npu", ALL, OPENVINO),
        ("gpu", [DIRECTML, CPU], DIRECTML),
        ("gpu", ALL, CUDA),
    ],
)
def test_the_device_that_is_asked_for_runs(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, device: str, listed: list[str], provider: str
) -> None:
    Providers(monkeypatch, listed)
    bundle: Bundle[Classification] = load(colour_bundle, device=device)
    assert bundle.place is not None
    assert (bundle.place.runtime, bundle.place.provider) == ("onnxruntime", provider)
    assert [bundle.predict(picture(colour)).label for colour in LABELS] == list(LABELS)


@pytest.mark.parametrize(
    ("device", "runtime", "expected"),
    [
        ("cuda", None, [(CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}), (CPU, {})]),
        (
            "cuda:1",
            None,
            [(CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "device_id": "1"}), (CPU, {})],
        ),
        ("cuda:1", "tensorrt", [(TENSORRT, {"device_id": "1"}), (CUDA, {}), (CPU, {})]),
        ("coreml", None, [(COREML, {"ModelFormat": "MLProgram"}), (CPU, {})]),
        ("directml:1", None, [(DIRECTML, {"device_id": "1"}), (CPU, {})]),
        ("xpu:1", None, [(OPENVINO, {"device_type": "GPU.1", "precision": "FP32"}), (CPU, {})]),
        ("npu", None, [(OPENVINO, {"device_type": "NPU"}), (CPU, {})]),
    ],
)
def test_providers_get_their_options_and_leave_the_rest_to_the_cpu(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, device: str, runtime: str | None, expected: list[Any]
) -> None:
    providers = Providers(monkeypatch, ALL)
    bundle: Bundle[Classification] = load(colour_bundle, runtime=runtime, device=device)
    assert providers.asked[0] == expected
    assert bundle.place == Place(runtime or "onnxruntime", device, expected[0][0])


def test_tensorrt_runs_only_where_it_is_asked_for_and_falls_back_to_cuda(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Providers(monkeypatch, ALL, starting=[CUDA])
    assert load(colour_bundle, runtime="tensorrt").place == Place("onnxruntime", "cuda", CUDA)
    (line,) = caplog.messages
    assert "TensorrtExecutionProvider: it does not start" in line
    assert line.endswith("the model runs on cuda")


@pytest.mark.parametrize("device", ["cuda", "coreml", "directml", "xpu", "npu", "gpu"])
def test_a_device_that_no_package_has_is_passed_over_with_one_line(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
) -> None:
    Providers(monkeypatch, [CPU])
    bundle: Bundle[Classification] = load(colour_bundle, device=device)
    assert bundle.place == Place("onnxruntime", "cpu", CPU)
    (line,) = caplog.messages
    assert line.startswith(f"{device} is not used (onnxruntime has no ")
    assert line.endswith("): the model runs on cpu")


def test_a_runtime_that_no_package_has_is_passed_over_with_one_line(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Providers(monkeypatch, [CPU])
    assert load(colour_bundle, runtime="tensorrt").place == Place("onnxruntime", "cpu", CPU)
    (line,) = caplog.messages
    assert line.startswith("tensorrt is not used (onnxruntime has no TensorrtExecutionProvider, which")


def test_auto_says_nothing_of_what_was_never_there(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Providers(monkeypatch, [CPU])
    load(colour_bundle)
    assert caplog.messages == []


def test_a_provider_that_does_not_start_is_passed_over_with_one_line(
    colour_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    Providers(monkeypatch, [CUDA, CPU], starting=[])
    assert load(colour_bundle).place == Place("onnxruntime", "cpu", CPU)
    (line,) = caplog.messages
    assert "CUDAExecutionProvider: it does not start: its libraries, or the driver, are missing" in line
    assert capfd.readouterr().out == ""


def test_a_device_that_answers_otherwise_than_the_cpu_is_not_used(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Providers(monkeypatch, [CUDA, CPU], changed=lambda logits: logits[:, ::-1] * 2)
    bundle: Bundle[Classification] = load(colour_bundle, device="cuda")
    assert bundle.predict(picture("blue")).label == "blue"
    assert bundle.place == Place("onnxruntime", "cpu", CPU)
    assert "its logits are not those of the CPU" in caplog.text


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_device_whose_answers_are_not_finite_is_not_used(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, broken: float
) -> None:
    Providers(monkeypatch, [CUDA, CPU], changed=lambda logits: np.full_like(logits, broken))
    assert load(colour_bundle, device="cuda").place == Place("onnxruntime", "cpu", CPU)


def test_small_differences_of_arithmetic_are_taken(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch, [CUDA, CPU], changed=lambda logits: logits * np.float32(1.01))
    assert load(colour_bundle, device="cuda").place == Place("onnxruntime", "cuda", CUDA)


@pytest.mark.parametrize(
    ("device", "meant"), [("cudda", "cuda"), ("cuda:x", "cuda"), ("cpuu", "cpu"), ("cuda:", "cuda"), (":1", "")]
)
def test_an_unknown_device_is_an_error_with_what_is_meant_and_what_is_here(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, device: str, meant: str
) -> None:
    Providers(monkeypatch, [CUDA, CPU])
    monkeypatch.setattr(open_runtime, "openvino_devices", lambda: ["CPU"])
    with pytest.raises(ConvsmithError, match="there is no device") as raised:
        load(colour_bundle, device=device)
    assert meant in raised.value.what
    assert raised.value.why.endswith("have cuda, cpu")
    assert all(name in raised.value.fix for name in DEVICES)


@pytest.mark.parametrize(
    ("runtime", "device"),
    [("openvino", "cuda"), ("openvino-bf16", "xpu"), ("tensorrt", "coreml"), ("tensorrt", "cpu"), (None, "cpu:1")],
)
def test_what_no_machine_can_do_is_an_error(colour_bundle: Path, runtime: str | None, device: str) -> None:
    with pytest.raises(ConvsmithError, match="does not run on"):
        load(colour_bundle, runtime=runtime, device=device)


def test_a_device_of_one_call_serves_threads_one_after_another(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most = 0, 0
    meeting = threading.Barrier(2)

    def changed(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            meeting.wait(0.05)  # two threads at once would meet here
        except threading.BrokenBarrierError:
            meeting.reset()
        inside -= 1
        return logits

    providers = Providers(monkeypatch, [DIRECTML, CPU], changed=changed)
    bundle: Bundle[Classification] = load(colour_bundle)
    threads = [threading.Thread(target=bundle.predict, args=(picture("red"),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert providers.options[0].enable_mem_pattern is False


def test_a_device_of_one_image_gets_them_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def changed(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        counts.append(len(logits))
        return logits

    Providers(monkeypatch, ALL, changed=changed)
    (way,) = (it for it in WAYS if it.one_image and it.engine == "onnxruntime")
    batch = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8)
    assert np.array_equal(OnnxRuntime(colour_model(), 1, way).run(batch), OnnxRuntime(colour_model(), 1).run(batch))
    assert counts == [1, 1, 1]


def test_a_pickled_bundle_keeps_its_device_and_runtime(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch, ALL)
    bundle: Bundle[Classification] = load(colour_bundle, runtime="tensorrt", device="cuda:1")
    again: Bundle = pickle.loads(pickle.dumps(bundle))
    assert again.place == bundle.place == Place("tensorrt", "cuda:1", TENSORRT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on_with_the_cpu_since_no_device_survives_that(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Providers(monkeypatch, [CUDA, CPU])
    bundle: Bundle[Classification] = load(colour_bundle)
    assert bundle.predict(picture("red")).meta["device"] == "cuda"
    child = os.fork()
    if child == 0:
        answer = bundle.predict(picture("blue"))
        os._exit(0 if (answer.label, answer.meta["device"]) == ("blue", "cpu") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bundle.predict(picture("red")).meta["device"] == "cuda"


def test_an_answer_says_what_ran(colour_bundle: Path, pixel_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch, ALL)
    expected = {"runtime": "onnxruntime", "device": "cuda", "provider": CUDA}
    for folder in (colour_bundle, pixel_bundle):
        answer = load(folder).predict(picture("red"))
        assert answer.meta == answer.to_dict()["meta"] == expected
    assert load(pixel_bundle).with_preprocess(flip=True).predict(picture("red")).meta == expected


@pytest.fixture
def intel(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """OpenVINO with a GPU and an NPU, which compute on the CPU; device and settings of each model."""
    openvino = pytest.importorskip("openvino")
    asked: list[tuple[str, dict[str, Any]]] = []
    compile_model = openvino.Core.compile_model

    def compile_and_tell(core: Any, network: Any, device: str, settings: dict[str, Any]) -> Any:
        asked.append((device, settings))
        return compile_model(core, network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    monkeypatch.setattr(openvino.Core, "compile_model", compile_and_tell)
    for module in (openvino_runtime, open_runtime):
        monkeypatch.setattr(module, "openvino_devices", lambda: ["CPU", "GPU.0", "GPU.1", "NPU"])
    return asked


@pytest.mark.parametrize(
    ("device", "provider"),
    [("auto", "GPU"), ("gpu", "GPU"), ("xpu", "GPU"), ("xpu:1", "GPU.1"), ("npu", "NPU"), ("cpu", "CPU")],
)
def test_openvino_runs_on_intels_gpu_and_npu(
    colour_bundle: Path, intel: list[tuple[str, dict[str, Any]]], device: str, provider: str
) -> None:
    bundle: Bundle[Classification] = load(colour_bundle, runtime="openvino", device=device)
    assert bundle.place is not None
    assert (bundle.place.runtime, bundle.place.provider) == ("openvino", provider)
    assert intel[0][0] == provider
    assert intel[0][1].get("INFERENCE_PRECISION_HINT", "f32") == "f32"
    assert [bundle.predict(picture(colour)).label for colour in LABELS] == list(LABELS)


def test_a_device_that_only_openvino_has_is_found_without_its_name(
    colour_bundle: Path, intel: list[tuple[str, dict[str, Any]]]
) -> None:
    assert load(colour_bundle, device="npu").place == Place("openvino", "npu", "NPU")


def test_openvino_gets_one_image_at_a_time_where_it_compiles_for_one(intel: list[tuple[str, dict[str, Any]]]) -> None:
    (way,) = (it for it in WAYS if it.one_image and it.engine == "openvino")
    batch = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8)
    runtime = OpenVinoRuntime(colour_model(), way=way)
    assert np.allclose(runtime.run(batch), OnnxRuntime(colour_model(), 1).run(batch), atol=1e-5)
    assert runtime._network.inputs[0].shape[0] == 1


def test_without_such_a_device_openvino_stays_on_the_cpu(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(open_runtime, "openvino_devices", lambda: ["CPU"])
    assert load(colour_bundle, runtime="openvino", device="npu").place == Place("openvino", "cpu", "CPU")
    why = "OpenVINO sees no NPU: it takes openvino and Intel's driver"
    assert caplog.messages == [f"openvino on npu is not used ({why}): the model runs on cpu"]


def test_every_runtime_has_a_cpu_to_fall_back_to() -> None:
    with_cpu = {way.engine for way in WAYS if way.on_cpu}
    assert with_cpu == {way.engine for way in WAYS}
