from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.bundle import openvino_runtime
from convsmith.bundle.open_runtime import open_runtime
from convsmith.bundle.openvino_runtime import OpenVinoRuntime
from convsmith.bundle.predictor import load
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.errors import ConvsmithError
from tests.bundle.test_runtime import assert_answers_several_threads, images
from tests.colours import colour_model, picture
from tests.stripes import pixel_colour_model

openvino = pytest.importorskip("openvino")


@pytest.mark.parametrize("count", [1, 3, 5])
def test_it_says_what_onnxruntime_says_of_any_batch(count: int) -> None:
    logits = OpenVinoRuntime(colour_model(), threads=1).run(images(count))
    assert logits.dtype == np.float32
    assert np.allclose(logits, OnnxRuntime(colour_model(), 1).run(images(count)), atol=1e-5)


@pytest.mark.parametrize("size", [(9, 15), (64, 33)])
def test_images_of_any_size_become_maps(size: tuple[int, int]) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 3, *size), np.uint8)
    assert np.allclose(OpenVinoRuntime(pixel_colour_model(), threads=1).run(batch), batch * 0.1, atol=1e-5)


@pytest.mark.parametrize(
    ("cores", "threads", "streams"), [(2, 1, 2), (2, 2, 1), (2, None, 1), (2, 4, 1), (5, 2, 2), (8, 2, 4)]
)
def test_as_many_calls_run_at_once_as_their_threads_go_into_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int | None, streams: int
) -> None:
    asked: dict[str, Any] = {}
    compile_model = openvino.Core.compile_model

    def compile_and_tell(core: Any, network: Any, device: str, settings: dict[str, Any]) -> Any:
        asked.update(settings)
        return compile_model(core, network, device, settings)

    monkeypatch.setattr(openvino.Core, "compile_model", compile_and_tell)
    monkeypatch.setattr(openvino_runtime, "available_cores", lambda: cores)
    OpenVinoRuntime(colour_model(), threads=threads)
    assert asked["NUM_STREAMS"] == streams
    assert asked["INFERENCE_NUM_THREADS"] == streams * (threads or cores)


def test_threads_and_float32_are_explicit() -> None:
    network = OpenVinoRuntime(colour_model(), threads=2)._network
    assert network.get_property("INFERENCE_NUM_THREADS") == 2
    assert network.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


@pytest.mark.parametrize("model", [b"", b"not an onnx model", colour_model()[:200]])
def test_a_model_that_cannot_be_loaded_is_one_clear_error(model: bytes) -> None:
    with pytest.raises(ConvsmithError, match="OpenVINO cannot load the model"):
        OpenVinoRuntime(model)


def test_a_model_with_other_names_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="is not one of convsmith"):
        OpenVinoRuntime(colour_model(names=("pixels", "logits")))


def test_images_of_another_size_are_one_clear_error() -> None:
    with pytest.raises(ConvsmithError, match=r"cannot run on images of shape \(1, 3, 9, 9\)"):
        OpenVinoRuntime(colour_model(), threads=1).run(np.zeros((1, 3, 9, 9), np.uint8))


def test_many_threads_at_once_get_their_own_answers() -> None:
    assert_answers_several_threads(OpenVinoRuntime(colour_model(), threads=1))


@pytest.mark.parametrize("runtime", ["openvino", "openvino-bf16", "onnxruntime", None])
def test_a_bundle_in_onnx_is_loaded_into_the_runtime_of_ones_choice(colour_bundle: Path, runtime: str | None) -> None:
    assert load(colour_bundle, threads=1, runtime=runtime).predict(picture("green")).to_dict()["label"] == "green"


def test_a_runtime_that_is_not_there_is_one_clear_error(colour_bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="there is no runtime `openvin`; did you mean `openvino`"):
        load(colour_bundle, runtime="openvin")


def test_a_runtime_that_does_not_take_the_files_says_so() -> None:
    with pytest.raises(ConvsmithError, match="onnxruntime cannot run this bundle: its format is openvino"):
        open_runtime({"model.xml": b"", "model.bin": b""}, "openvino", runtime="onnxruntime")
