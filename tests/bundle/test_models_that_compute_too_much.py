"""A model of a few kB that would compute for days, or fill any memory, is refused before any of it is computed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from convsmith.bundle.onnx_work import Work
from convsmith.bundle.predictor import load
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.quantize import read_float
from convsmith.errors import ConvsmithError
from tests.bundle.heavy_models import MODELS, adding, node, of_the_image, products
from tests.colours import SIDE, colour_model, write_colour_bundle


@pytest.mark.parametrize("what", MODELS)
def test_it_is_refused_before_it_is_opened(what: str, tmp_path: Path) -> None:
    make, reason = MODELS[what]
    bundle = write_colour_bundle(tmp_path / "b", make())
    with pytest.raises(ConvsmithError, match=reason):
        load(bundle)


@pytest.mark.parametrize("what", ["products of constants", "an enlargement", "doubling of a shape"])
def test_openvino_does_not_open_it_either(what: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    make, reason = MODELS[what]
    with pytest.raises(ConvsmithError, match=reason):
        load(write_colour_bundle(tmp_path / "b", make()), runtime="openvino")


@pytest.mark.parametrize("what", ["products of constants", "doubling of a shape"])
def test_it_is_not_quantized(what: str, tmp_path: Path) -> None:
    make, reason = MODELS[what]
    with pytest.raises(ConvsmithError, match=reason):
        read_float(write_colour_bundle(tmp_path / "b", make()))


def any_size() -> bytes:
    """A model that compares each pixel with each other one."""
    model = onnx.load_from_string(
        adding(
            [
                node("ReduceMean", "floats channels", "grey", keepdims=0),
                node("Reshape", "grey as_rows", "rows"),
                node("Reshape", "grey as_columns", "columns"),
                node("MatMul", "columns rows"),
            ],
            channels=[1],
            as_rows=[0, 1, -1],
            as_columns=[0, -1, 1],
        )
    )
    for number, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[number].dim_param = name
    content: bytes = model.SerializeToString()
    return content


def test_it_is_weighed_again_for_larger_images() -> None:
    runtime = OnnxRuntime(any_size())
    runtime.run(np.zeros((1, 3, 64, 64), np.uint8))
    with pytest.raises(ConvsmithError, match="for 1,048,576 pixels"):
        runtime.run(np.zeros((1, 3, 1024, 1024), np.uint8))


def test_it_is_weighed_again_for_one_image_as_large_as_many() -> None:
    work = Work(any_size())
    work.check((8, 3, 64, 64))
    with pytest.raises(ConvsmithError, match="for 32,768 pixels"):
        work.check((1, 3, 128, 256))


def test_who_trusts_it_lifts_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = products(700, 1, add="mean")
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "0.001")
    with pytest.raises(ConvsmithError, match="CONVSMITH_MODEL_LIMIT"):
        Work(model)
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "0")
    Work(model)


def test_a_large_image_does_not_excuse_more_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(any_size())
    work.check((1, 3, 64, 64))
    monkeypatch.setattr("convsmith.machine.memory", lambda: 2**20)
    with pytest.raises(ConvsmithError, match="GiB for 16,384 pixels"):
        work.check((2, 3, 128, 64))


@pytest.mark.parametrize("shape", [[], [1, 3], [1, 3, 8, 8, 8]])
def test_a_model_whose_input_is_not_images_is_refused(shape: list[int]) -> None:
    model = onnx.load_from_string(colour_model())
    model.graph.input[0].type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
    for side in shape:
        model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = side
    with pytest.raises(ConvsmithError, match=r"its input is not of images \[N, C, H, W\]"):
        OnnxRuntime(model.SerializeToString())


def test_a_limit_that_is_not_a_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "much")
    with pytest.raises(ConvsmithError, match="CONVSMITH_MODEL_LIMIT is `much`"):
        Work(colour_model())


def test_a_model_may_split_its_channels_into_many_groups() -> None:
    parts = " ".join(f"part{i}" for i in range(48))
    groups = [node("Split", "row sizes", parts, axis=1), node("Concat", parts, axis=1)]
    logits = OnnxRuntime(of_the_image(*groups, sizes=[4] * 48)).run(np.full((1, 3, SIDE, SIDE), 100, np.uint8))
    np.testing.assert_allclose(logits, [[0.1 * 100 + 100] * 3], rtol=1e-5)


@pytest.mark.parametrize(
    ("operator", "more", "attributes", "made"),  # of ones alone
    [
        ("BiasGelu", "wide", {}, 1 + math.erf(math.sqrt(2))),
        ("SkipLayerNormalization", "many wide", {}, 0),
        ("FusedMatMul", "square", {}, 768),
        ("Attention", "packed bias", {"num_heads": 8}, 769),
        ("MultiHeadAttention", "many many", {"num_heads": 8}, 1),
    ],
)
def test_what_onnxruntime_makes_of_several_operations_is_weighed_as_these(
    operator: str, more: str, attributes: dict[str, Any], made: float
) -> None:
    content = of_the_image(
        node("Reshape", "row three", "positions"),
        node("Tile", "positions times", "many"),
        node(operator, f"many {more}", domain="com.microsoft", **attributes),
        three=[1, 1, 192],
        times=[1, 600, 4],
        wide=np.ones(768, np.float32),
        square=np.ones((768, 768), np.float32),
        packed=np.ones((768, 3 * 768), np.float32),
        bias=np.ones(3 * 768, np.float32),
    )
    logits = OnnxRuntime(content).run(np.ones((1, 3, SIDE, SIDE), np.uint8))
    np.testing.assert_allclose(logits, [[0.1 + made] * 3], rtol=1e-2)


def test_a_model_of_images_is_light() -> None:
    logits = OnnxRuntime(colour_model()).run(np.ones((256, 3, SIDE, SIDE), np.uint8))
    np.testing.assert_allclose(logits, [[0.1] * 3] * 256, rtol=1e-5)
