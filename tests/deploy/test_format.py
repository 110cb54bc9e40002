from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

import convsmith.deploy.formats
from convsmith.bundle.runtime import INPUT, OnnxRuntime
from convsmith.deploy.format import Exportable, export_files, find_format, open_bundle, open_files
from convsmith.deploy.formats import list_formats
from convsmith.deploy.formats.tensorrt import build_engine
from convsmith.deploy.onnx_export import inference_model, quiet
from convsmith.errors import ConvsmithError, install_command
from convsmith.spec import Preprocess, WholeImage
from tests.colours import SIDE, colour_model, picture, write_colour_bundle
from tests.models.every import live
from tests.tasks.tiny_segmenter import TinySegmenter

COLOURS = Exportable((SIDE, SIDE), any_size=False, given=colour_model())
PACKAGES = {"openvino": "openvino", "executorch": "executorch", "litert": "litert_torch"}

TENTH = """
from convsmith.bundle.runtime import INPUT, OnnxRuntime
from convsmith.deploy.format import Format

FORMAT = Format("a test", lambda source: {"model.x": source.onnx}, lambda files, n: OnnxRuntime(files["model.x"], n))
"""


def small(any_size: bool = False) -> Exportable:
    if any_size:
        model, spec = TinySegmenter(), WholeImage(method="whole")
        return Exportable((64, 64), True, inference_model(model, spec), opset=20)
    return Exportable(
        (32, 32), False, inference_model(live("cifar_resnet20"), Preprocess(resize=32, crop=32)), opset=20
    )


def images(count: int, *size: int) -> Any:
    return np.random.RandomState(0).randint(0, 256, (count, 3, *size), np.uint8)


def assert_agree(name: str, source: Exportable, batch: Any) -> None:
    """The artefact, out of its files alone, against torch."""
    runtime = open_files(name, {key: bytes(content) for key, content in export_files(name, source).items()})
    with torch.inference_mode():
        expected = source.trained(torch.from_numpy(batch)).numpy()
    answer = runtime.run(batch)
    assert answer.dtype == np.float32
    allowed = find_format(name).tolerance.logits * max(1, np.abs(expected).max())
    np.testing.assert_allclose(answer, expected, atol=allowed, rtol=0)


def test_a_format_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_tenth.py").write_text(TENTH)
    monkeypatch.setattr(convsmith.deploy.formats, "__path__", [*convsmith.deploy.formats.__path__, str(tmp_path)])
    assert "a-tenth" in list_formats()
    files = export_files("a-tenth", COLOURS)
    bundle = write_colour_bundle(tmp_path / "bundle", files, format="a-tenth")
    assert open_bundle(bundle, threads=1).predict(picture("blue")).to_dict()["label"] == "blue"


@pytest.mark.parametrize("name", list_formats())
def test_every_format_says_what_it_is_for_and_what_to_install(name: str) -> None:
    found = find_format(name)
    assert found.summary
    assert f"\n{found.extra} = [" in (Path(__file__).parents[2] / "pyproject.toml").read_text()


def test_an_unknown_format_lists_those_that_there_are() -> None:
    with pytest.raises(ConvsmithError, match=r"no format `openvin`; did you mean `openvino`\?\nThere are "):
        find_format("openvin")


@pytest.mark.parametrize("name", ["torchscript", "pt2", "aotinductor", "executorch", "litert", "coreml"])
def test_what_is_made_of_the_torch_model_asks_for_the_run(name: str) -> None:
    with pytest.raises(ConvsmithError, match="Give the run directory instead"):
        export_files(name, COLOURS)


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    source = COLOURS if name == "openvino" else small()
    with pytest.raises(ConvsmithError, match=rf"needs the package `{package}`.*\n.*{re.escape(install_command(name))}"):
        export_files(name, source)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
def test_tensorrt_says_that_a_gpu_is_missing() -> None:
    with pytest.raises(ConvsmithError, match="TensorRT needs an NVIDIA GPU and its driver: torch sees none"):
        export_files("tensorrt", COLOURS)


def tensorrt_that(reads: bool) -> Any:
    """TensorRT's interface, where there is no GPU to build an engine for."""
    package = MagicMock()
    package.OnnxParser().parse.return_value = reads
    package.OnnxParser().get_error.return_value = "no such operator"
    package.Builder().create_network().get_input().shape = (-1, 3, SIDE, SIDE)
    package.Builder().build_serialized_network.return_value = b"engine"
    return package


def test_tensorrt_builds_an_engine_for_up_to_32_images() -> None:
    package = tensorrt_that(reads=True)
    assert build_engine(package, COLOURS) == b"engine"
    sizes = [(batch, 3, SIDE, SIDE) for batch in (1, 8, 32)]
    package.Builder().create_optimization_profile().set_shape.assert_called_once_with(INPUT, *sizes)


def test_what_tensorrt_cannot_read_is_said_in_its_words() -> None:
    with pytest.raises(ConvsmithError, match="TensorRT cannot read the ONNX model: no such operator"):
        build_engine(tensorrt_that(reads=False), COLOURS)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_core_ml_is_made_on_a_mac() -> None:
    with pytest.raises(ConvsmithError, match="Core ML runs on macOS only"):
        export_files("coreml", small())


@pytest.mark.parametrize("name", ["executorch", "litert", "tensorrt", "coreml"])
def test_what_takes_one_size_only_asks_for_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for package in ("executorch", "litert_torch"):
        pytest.importorskip(package) if PACKAGES.get(name) == package else None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "tensorrt", sys)
    with pytest.raises(ConvsmithError, match=r"takes images of one size: .*\nSay which with --size"):
        export_files(name, small(any_size=True))


def test_what_a_converter_refuses_is_one_clear_error() -> None:
    with pytest.raises(ConvsmithError, match="onnx-fp16 cannot be made of this model"):
        export_files("onnx-fp16", Exportable((8, 8), False, given=b"nonsense"))


def test_what_a_converter_prints_stays_out_of_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("LiteRT-Torch Convert")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", ["torchscript", "pt2"])
def test_a_file_that_is_no_such_model_is_one_clear_error(name: str) -> None:
    file = {"torchscript": "model.ts", "pt2": "model.pt2"}[name]
    with pytest.raises(ConvsmithError, match=f"the {name} file cannot be loaded"):
        open_files(name, {file: b"nonsense"})


@pytest.mark.parametrize("name", ["onnx", "onnx-fp16", "openvino", "triton"])
def test_an_onnx_model_is_enough(name: str) -> None:
    pytest.importorskip(PACKAGES.get(name, "onnx"))
    runtime = open_files(name, export_files(name, COLOURS), threads=1)
    batch = images(3, SIDE, SIDE)
    expected = OnnxRuntime(colour_model(), 1).run(batch)
    assert np.allclose(runtime.run(batch), expected, rtol=find_format(name).tolerance.logits)


@pytest.mark.slow
def test_float16_halves_the_file() -> None:
    source = Exportable((64, 64), False, given=small().onnx)
    assert len(export_files("onnx-fp16", source)["model.onnx"]) < 0.6 * len(source.onnx)


@pytest.mark.parametrize(
    "name",
    [
        "torchscript",
        pytest.param("pt2", marks=pytest.mark.slow),
        pytest.param("aotinductor", marks=pytest.mark.slow),
        pytest.param("executorch", marks=pytest.mark.slow),
        pytest.param("litert", marks=pytest.mark.slow),
        pytest.param("openvino", marks=pytest.mark.slow),
        pytest.param("onnx-fp16", marks=pytest.mark.slow),
    ],
)
def test_the_artefact_says_what_torch_says(name: str) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    for count in (1, 3):
        assert_agree(name, small(), images(count, 32, 32))


@pytest.mark.slow
def test_executorch_takes_as_many_threads_as_it_is_told() -> None:
    library = pytest.importorskip("executorch.extension.pybindings.portable_lib")
    files, batch = export_files("executorch", small()), images(1, 32, 32)
    answers = []
    for threads in (1, 2):
        runtime = open_files("executorch", files, threads)
        answers.append(runtime.run(batch))
        assert library._threadpool_get_thread_count() == threads
        other = open_files("executorch", files)  # as many as there are
        with pytest.raises(ConvsmithError, match="cannot run on 3 threads: another one is open"):
            open_files("executorch", files, 3)
        answers.append(runtime.run(batch))
        del runtime, other
    np.testing.assert_allclose(answers, answers[:1] * 4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["torchscript", "pt2", pytest.param("openvino", marks=pytest.mark.slow)],
)
def test_a_segmentation_takes_any_size(name: str) -> None:
    source = small(any_size=True)
    for size in ((1, 40, 71), (2, 33, 20)):
        assert_agree(name, source, images(*size))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["executorch", "litert"])
@pytest.mark.parametrize("family", ["small-fcn", "small-convnext-upernet"])
def test_a_segmentation_of_one_size_becomes_what_takes_no_other(name: str, family: str) -> None:
    pytest.importorskip(PACKAGES[name])
    exact = inference_model(live(family), WholeImage(method="whole"))
    assert_agree(name, Exportable((64, 96), False, exact), images(2, 64, 96))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchscript", "pt2", "openvino", "executorch", "litert"])
@pytest.mark.parametrize("family", ["small-convnext", "small-resnest", "small-resnet", "mobilenet_v2"])
def test_every_family_can_be_every_format(name: str, family: str) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    exact = inference_model(live(family), Preprocess(resize=64, crop=64))
    assert_agree(name, Exportable((64, 64), False, exact, opset=20), images(2, 64, 64))
