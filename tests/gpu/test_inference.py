"""What a GPU has trained, exported and run: the CPU's numbers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import convsmith as cs
from convsmith.analyze.benchmark import benchmark

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def images(run: cs.Run, data: Path) -> NDArray[np.uint8]:
    """64 digits as the model sees them."""
    bundle = cs.load(run.bundle, device="cpu")
    return np.stack([bundle.preprocess(path) for path in sorted(data.glob("val/*/*.png"))[::5][:64]])


def largest_difference(bundle: cs.Bundle, proved: cs.Bundle, images: NDArray[np.uint8]) -> float:
    """Of the logits, relative to the largest one."""
    expected = proved.logits(images)
    return float(np.abs(bundle.logits(images) - expected).max() / np.abs(expected).max())


def test_the_bundle_says_on_the_cpu_what_the_training_reported(run: cs.Run, data: Path) -> None:
    judged = cs.evaluate(run.bundle, data, device="cpu")
    assert judged.top1 == pytest.approx(cs.load(run.bundle).manifest.metrics["top1"], abs=0.01)


def test_the_device_gives_the_cpus_logits(run: cs.Run, device: str, images: NDArray[np.uint8]) -> None:
    bundle = cs.load(run.bundle)
    assert bundle.place is not None
    if bundle.place.device == "cpu" != device:
        pytest.skip("onnxruntime has no provider for this GPU: `convsmith doctor` says what to install")
    assert largest_difference(bundle, cs.load(run.bundle, device="cpu"), images) < 1e-3
    assert largest_difference(bundle, cs.load(run.bundle, device="cpu"), images[:1]) < 1e-3


def test_an_evaluation_says_what_ran_and_is_as_good(run: cs.Run, data: Path) -> None:
    judged, bundle = cs.evaluate(run.bundle, data), cs.load(run.bundle)
    assert bundle.place is not None
    assert judged.meta["device"] == bundle.place.device
    assert judged.top1 == pytest.approx(bundle.manifest.metrics["top1"], abs=0.01)


def test_tensorrt_gives_the_cpus_logits(run: cs.Run, device: str, images: NDArray[np.uint8]) -> None:
    if device != "cuda":
        pytest.skip("TensorRT is for NVIDIA's GPUs")
    bundle = cs.load(run.bundle, runtime="tensorrt")
    assert bundle.place is not None
    if bundle.place.runtime != "tensorrt":
        pytest.skip("onnxruntime has no TensorRT here")
    assert largest_difference(bundle, cs.load(run.bundle, device="cpu"), images) < 2e-2


@pytest.mark.parametrize("file_format", ["onnx", "onnx-fp16", "tensorrt"])
def test_an_export_is_as_accurate_as_the_run(
    run: cs.Run, device: str, data: Path, tmp_path: Path, file_format: str
) -> None:
    if file_format == "tensorrt" and (device != "cuda" or find_spec("tensorrt") is None):
        pytest.skip("tensorrt is not installed, or there is no NVIDIA GPU")
    cs.export(run.path, file_format, tmp_path / "export", data)
    judged = cs.evaluate(tmp_path / "export", data, allow_code=True)
    assert judged.top1 == pytest.approx(cs.load(run.bundle).manifest.metrics["top1"], abs=0.01)


def test_int8_says_on_the_device_what_it_says_on_the_cpu(
    run: cs.Run, device: str, data: Path, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    cs.quantize(run.bundle, data, tmp_path / "int8", images=64)
    bundle, proved = cs.load(tmp_path / "int8"), cs.load(tmp_path / "int8", device="cpu")
    agreeing = bundle.logits(images).argmax(1) == proved.logits(images).argmax(1)
    assert agreeing.mean() > 0.95


def test_the_benchmark_says_what_ran(run: cs.Run) -> None:
    bundle = cs.load(run.bundle)
    assert bundle.place is not None
    rows = benchmark([run.bundle], (), [1, 8], seconds=0.1).rows
    assert {row.device for row in rows} == {bundle.place.device}
