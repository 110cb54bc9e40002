"""A bundle whose answers a reader can see: it names the strongest of the colours red, green and blue."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from convsmith.bundle.format import Manifest
from convsmith.bundle.write import Card, write_bundle
from convsmith.spec import Preprocess

LABELS = ("red", "green", "blue")
SIDE = 8


def colour_model(classes: int = 3, side: int = SIDE, names: tuple[str, str] = ("images", "logits")) -> bytes:
    """An ONNX model: the mean of each colour over the image, times a tenth, is its logit; further classes get 0."""
    source, result = names
    weights = np.zeros((3, classes), np.float32)
    np.fill_diagonal(weights, 0.1)
    nodes = [
        helper.make_node("Cast", [source], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], [result]),
    ]
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info(source, TensorProto.UINT8, ["N", 3, side, side])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes"), numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def without_answer_on_white(model: bytes) -> bytes:
    """That model, divided by 255 minus the mean over the whole image: of a white one no logit is finite."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    axes = list(range(1, len(graph.output[0].type.tensor_type.shape.dim)))
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3], np.int64), "all"))
    graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), "kept"))
    graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "white"))
    graph.node[-1].output[0] = "finite"
    graph.node.extend(
        [
            helper.make_node("ReduceMean", ["floats", "all"], ["mean"], keepdims=0),
            helper.make_node("Sub", ["white", "mean"], ["distance"]),
            helper.make_node("Unsqueeze", ["distance", "kept"], ["divisor"]),
            helper.make_node("Div", ["finite", "divisor"], [graph.output[0].name]),
        ]
    )
    content: bytes = proto.SerializeToString()
    return content


def write_colour_bundle(directory: Path, model: bytes | Mapping[str, bytes] | None = None, **changes: Any) -> Path:
    """Write the colour model as a bundle; `changes` replace what its `Card` says, `model_info` its `model`."""
    arguments: dict[str, Any] = {
        "task": "classification",
        "model_info": {"name": "colour", "params": 9},
        "labels": LABELS,
        "preprocess": Preprocess(resize=SIDE, crop=SIDE),
        "metrics": {"top1": 1.0},
        "parity": {"max_abs_difference": 0.0},
        "recipe": {"description": "colours"},
        "created_with": {"convsmith": "0.1.0"},
    }
    values = arguments | changes
    card = Card(model=values.pop("model_info"), **values)
    write_bundle(directory, colour_model() if model is None else model, card)
    return directory


def bare_manifest(labels: tuple[str, ...], **more: Any) -> Manifest:
    """The manifest of a bundle of which nothing else is known."""
    return Manifest.model_construct(**{"labels": labels, **more})


def picture(colour: str, format: str = "PNG", size: tuple[int, int] = (20, 16)) -> bytes:  # noqa: A002
    """The bytes of an image file of one colour."""
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, format)
    return content.getvalue()
