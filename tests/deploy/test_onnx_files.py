"""What is added to an ONNX file, and taken from it."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from convsmith.bundle.runtime import EMBEDDINGS, OnnxRuntime
from convsmith.deploy.onnx_description import described
from convsmith.deploy.onnx_outputs import with_embeddings, without_embeddings
from convsmith.spec import Preprocess
from tests.colours import SIDE, colour_model
from tests.stripes import pixel_colour_model

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE), np.uint8)


def test_the_features_that_the_last_layer_sees_become_a_second_output() -> None:
    content = with_embeddings(colour_model())
    assert content is not None
    logits, features = OnnxRuntime(content).run_with_embeddings(IMAGES)
    np.testing.assert_allclose(features, IMAGES.mean((2, 3)), rtol=1e-6)
    np.testing.assert_allclose(logits, features / 10, rtol=1e-6)


def behind(*operators: str) -> bytes:
    """The colour model with such nodes behind its last layer, and an output that it had before."""
    model = onnx.load_from_string(colour_model(names=("images", "product")))
    name = "product"
    for number, operator in enumerate(operators):
        inputs = [name, "product"] if operator == "Sum" else [name]
        name = "logits" if number == len(operators) - 1 else f"between{number}"
        model.graph.node.append(helper.make_node(operator, inputs, [name]))
    model.graph.output[0].name = "logits"
    model.graph.output.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


def test_what_only_passes_logits_on_is_looked_through() -> None:
    content = with_embeddings(behind("Flatten", "Identity"))
    assert content is not None
    assert [value.name for value in onnx.load_from_string(content).graph.output] == ["logits", EMBEDDINGS]


@pytest.mark.parametrize("model", [pixel_colour_model(), behind("Relu")], ids=["convolution", "something behind"])
def test_a_model_that_does_not_end_with_a_linear_layer_has_no_features(model: bytes) -> None:
    assert with_embeddings(model) is None


def test_without_embeddings_the_first_output_is_left_and_no_tensor_has_their_name() -> None:
    content = with_embeddings(colour_model())
    assert content is not None
    plain = onnx.load_from_string(without_embeddings(content))
    assert [value.name for value in plain.graph.output] == ["logits"]
    names = {name for node in plain.graph.node for name in (*node.input, *node.output)}
    assert f"{EMBEDDINGS}_inside" in names
    assert EMBEDDINGS not in names
    np.testing.assert_array_equal(
        OnnxRuntime(plain.SerializeToString()).run(IMAGES), OnnxRuntime(colour_model()).run(IMAGES)
    )


def test_a_model_with_one_output_stays_as_it_is() -> None:
    model = colour_model()
    assert without_embeddings(model) is model


@pytest.mark.parametrize("thresholds", [None, (0.5, 0.25)])
def test_a_file_says_its_task_and_labels_and_how_images_are_prepared(thresholds: tuple[float, ...] | None) -> None:
    spec, model = Preprocess(resize=8, crop=8), onnx.load_from_string(colour_model())
    model.metadata_props.add(key="producer", value="anybody")
    model.opset_import[0].version = 20
    model.ir_version = 11
    said = onnx.load_from_string(described(model.SerializeToString(), "multilabel", ("a", "b"), spec, thresholds))
    expected = {"task": "multilabel", "labels": '["a", "b"]', "preprocess": spec.model_dump_json()}
    more = {} if thresholds is None else {"thresholds": json.dumps(thresholds)}
    assert {entry.key: entry.value for entry in said.metadata_props} == expected | more
    assert said.ir_version == 9  # the first that has opset 20


def test_an_operator_set_of_others_does_not_raise_the_version_of_a_file() -> None:
    model = onnx.load_from_string(colour_model())
    model.opset_import.append(helper.make_opsetid("com.example", 7))
    content = described(model.SerializeToString(), "classification", ("a",), Preprocess(resize=8, crop=8))
    assert onnx.load_from_string(content).ir_version == 8
