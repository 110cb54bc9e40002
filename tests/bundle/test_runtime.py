from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores
from tests.colours import SIDE, colour_model


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, SIDE, SIDE), np.uint8)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_any_batch_size_gives_the_models_logits(count: int) -> None:
    batch = images(count)
    logits = OnnxRuntime(colour_model(), threads=1).run(batch)
    assert logits.dtype == np.float32
    assert np.allclose(logits, batch.mean(axis=(2, 3)) * 0.1, atol=1e-4)


def test_threads_are_explicit_and_spin_for_microseconds() -> None:
    options = OnnxRuntime(colour_model(), threads=2)._session.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert int(options.get_session_config_entry("session.intra_op.spin_duration_us")) <= 20


def test_without_a_number_of_threads_all_cores_are_used() -> None:
    options = OnnxRuntime(colour_model())._session.get_session_options()
    assert options.intra_op_num_threads == available_cores()


@pytest.mark.parametrize("model", [b"", b"not an onnx model", colour_model()[:200]])
def test_a_model_that_cannot_be_loaded_is_one_clear_error(model: bytes) -> None:
    with pytest.raises(ConvsmithError, match="onnxruntime cannot load the model"):
        OnnxRuntime(model)


def test_a_model_that_needs_a_second_file_is_refused(tmp_path: Path) -> None:
    proto = onnx.load_from_string(colour_model())
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(ConvsmithError, match="cannot load"):
        OnnxRuntime((tmp_path / "m.onnx").read_bytes())


@pytest.mark.parametrize("names", [("pixels", "logits"), ("images", "output")])
def test_a_model_with_other_names_is_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConvsmithError, match="is not one of convsmith"):
        OnnxRuntime(colour_model(names=names))


@pytest.mark.parametrize("batch", [np.zeros((1, 3, 9, 9), np.uint8), np.zeros((1, 3, SIDE, SIDE), np.float32)])
def test_images_that_do_not_fit_are_one_clear_error(batch: np.ndarray) -> None:
    with pytest.raises(ConvsmithError, match="the model cannot run"):
        OnnxRuntime(colour_model()).run(batch)


def assert_answers_several_threads(runtime: Runtime) -> None:
    expected = [runtime.run(images(2, seed)) for seed in range(8)]
    wrong: list[int] = []

    def check(seed: int) -> None:
        for _ in range(50):
            if not np.array_equal(runtime.run(images(2, seed)), expected[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_several_threads_share_a_model() -> None:
    assert_answers_several_threads(OnnxRuntime(colour_model(), threads=1))


def test_importing_the_bundle_room_loads_neither_onnxruntime_nor_torch() -> None:
    code = (
        "import sys, json, convsmith.bundle.predictor;"
        "print(json.dumps([m for m in ('onnxruntime', 'torch', 'fastapi') if m in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == []
