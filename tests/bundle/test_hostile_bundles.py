"""A bundle from a stranger costs one error, bounded in time and memory, and does nothing but compute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convsmith.bundle.format import read_manifest
from convsmith.bundle.onnx_content import check_onnx
from convsmith.bundle.openvino_runtime import OpenVinoRuntime
from convsmith.bundle.predictor import load
from convsmith.errors import ConvsmithError
from convsmith.storage import sealed
from tests.colours import colour_model, picture, write_colour_bundle


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest as somebody who knows its checksum would."""
    values = json.loads((bundle / "bundle.json").read_text())
    change(values)
    del values["checksum"]
    (bundle / "bundle.json").write_text(json.dumps(sealed(values)))


@pytest.mark.parametrize("depth", [40, 500])
def test_a_manifest_that_is_nested_deep_is_damaged(tmp_path: Path, depth: int) -> None:
    bundle = write_colour_bundle(tmp_path / "b")
    rewrite(bundle, lambda values: values["recipe"].update(deep=json.loads("[" * depth + "]" * depth)))
    with pytest.raises(ConvsmithError, match="nested more than 32 levels deep"):
        load(bundle)


@pytest.mark.parametrize("depth", [970, 992, 5000, 100_000])
def test_no_depth_ends_the_reader(tmp_path: Path, depth: int) -> None:
    (tmp_path / "bundle.json").write_text('{"recipe": ' + '{"a":' * depth + "1" + "}" * depth + "}")
    with pytest.raises(ConvsmithError, match=r"nested|not JSON"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    bundle = write_colour_bundle(tmp_path / "b")
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    with pytest.raises(ConvsmithError, match="not a regular file"):
        load(bundle)


def test_a_huge_file_without_content_is_not_read(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b")
    os.truncate(bundle / "model.onnx", 2**40)
    rewrite(bundle, lambda values: values["files"]["model.onnx"].update(bytes=2**40))
    with pytest.raises(ConvsmithError, match="its files are larger than 4 GiB"):
        load(bundle)


def test_a_manifest_without_an_end_is_not_read(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b")
    os.truncate(bundle / "bundle.json", 2**40)
    with pytest.raises(ConvsmithError, match="larger than 8 MiB"):
        load(bundle)


def test_a_file_name_that_no_disk_takes_is_refused(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b")
    rewrite(bundle, lambda values: values["files"].update({"a" * 300: values["files"]["model.onnx"]}))
    with pytest.raises(ConvsmithError, match="not the plain name of a file"):
        load(bundle)


def test_a_path_that_no_disk_takes_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match="File name too long"):
        load("a" * 300)


@pytest.mark.parametrize("name", ["../../os", "onnx/../../os", "\x1b[2J", "", "os", "onnx2"])
def test_a_format_that_is_not_known_is_not_taken_for_onnx(tmp_path: Path, name: str) -> None:
    bundle = write_colour_bundle(tmp_path / "b")
    rewrite(bundle, lambda values: values.update(format=name))
    with pytest.raises(ConvsmithError) as caught:
        load(bundle)
    assert "\x1b" not in str(caught.value)


def with_external_values(path: str) -> bytes:
    """The colour model, whose weights are the content of a file."""
    model = onnx.load_from_string(colour_model())
    weights = next(it for it in model.graph.initializer if it.name == "weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": path, "offset": "0", "length": "36"}.items():
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    content: bytes = model.SerializeToString()
    return content


def endless(operator: str = "Loop") -> bytes:
    """The colour model behind a loop of a thousand million million rounds."""
    model = onnx.load_from_string(colour_model())
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(10**15, np.int64), "rounds"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(helper.make_node(operator, ["rounds", "yes", "before"], ["logits"], body=body))
    content: bytes = model.SerializeToString()
    return content


def inside_a_condition(model: bytes) -> bytes:
    """The graph of a model as a branch of a condition of another one."""
    outer, inner = onnx.load_from_string(colour_model()), onnx.load_from_string(model)
    outer.graph.node.append(helper.make_node("If", ["yes"], ["x"], then_branch=inner.graph, else_branch=inner.graph))
    content: bytes = outer.SerializeToString()
    return content


def with_a_function() -> bytes:
    model = onnx.load_from_string(colour_model())
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function("own", "twice", ["a"], ["b"], [node], [helper.make_opsetid("", 18)]))
    content: bytes = model.SerializeToString()
    return content


def with_sparse_values() -> bytes:
    """One number in a tensor of 4 TiB, which onnxruntime makes as soon as it reads the file."""
    model = onnx.load_from_string(colour_model())
    value, place = np.ones(1, np.float32), np.zeros(1, np.int64)
    tensors = numpy_helper.from_array(value, "sparse"), numpy_helper.from_array(place, "place")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(*tensors, [2**20, 2**20]))
    content: bytes = model.SerializeToString()
    return content


MODELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "values in a file": (lambda: with_external_values("secret.bin"), "values are in other files"),
    "a loop": (endless, "a graph of its own, which may never end"),
    "a scan": (lambda: endless("Scan"), "a graph of its own"),
    "a loop in a branch": (lambda: inside_a_condition(endless()), "a graph of its own"),
    "values in a file in a branch": (lambda: inside_a_condition(with_external_values("a")), "a graph of its own"),
    "sparse values": (with_sparse_values, "sparse values"),
    "functions": (with_a_function, "functions of its own"),
    "onnxruntime's own format": (lambda: b"\x1c\0\0\0ORTM" + bytes(100), "not ONNX"),
    "no graph": (lambda: b"\x08\x0a", "not ONNX"),
    "nothing": (lambda: b"", "not ONNX"),
    "a cut-off graph": (lambda: colour_model()[:100], "not ONNX"),
}


@pytest.mark.parametrize("what", MODELS)
def test_a_model_that_does_more_than_compute_is_not_opened(what: str, tmp_path: Path) -> None:
    make, reason = MODELS[what]
    bundle = write_colour_bundle(tmp_path / "b", make())
    with pytest.raises(ConvsmithError, match=reason):
        load(bundle)
    with pytest.raises(ConvsmithError, match=reason):
        load(bundle, runtime="openvino")


def test_a_model_that_only_computes_passes() -> None:
    check_onnx(colour_model())


def test_a_loop_of_openvino_is_not_opened() -> None:
    xml = b'<net><layers><layer type="L&#111;op"><port_map/><body/></layer></layers></net>'
    with pytest.raises(ConvsmithError, match="a graph of its own, which may never end"):
        OpenVinoRuntime(xml, b"")


EVIL = "\x1b]0;owned\x07\x1b[31mred"


def test_no_label_steers_the_terminal(tmp_path: Path) -> None:
    bundle = write_colour_bundle(
        tmp_path / "b", labels=(EVIL, "green", "blue"), model_info={"name": EVIL}, created_with={"convsmith": EVIL}
    )
    for label in (EVIL, "green"):
        (tmp_path / "data" / label.replace("/", "")).mkdir(parents=True)
        (tmp_path / "data" / label / "a.png").write_bytes(picture("red"))
    commands: list[list[str | Path]] = [
        ["predict", bundle, tmp_path / "data" / "green" / "a.png"],
        ["predict", bundle, tmp_path / "data", "--json"],
        ["evaluate", bundle, "--data", tmp_path / "data"],
    ]
    for words in commands:
        told = subprocess.run(
            [sys.executable, "-m", "convsmith.cli.main", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=os.environ | {"COLUMNS": "200"},  # where it is narrow, a table breaks the label
        )
        assert "owned" in told.stdout + told.stderr
        assert not {"\x1b", "\x07"} & set(told.stdout + told.stderr)
