"""Values of the Open Inference Protocol, as bytes and as JSON, without a server."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from convsmith.serve import inference_json
from convsmith.serve.inference import Inference, Wanted
from convsmith.serve.inference_json import read_question, write_answer
from convsmith.serve.problems import Problem
from convsmith.serve.tensors import NUMBERS, Tensor, tensor_of_bytes, tensor_of_values


def said_of(problem: pytest.ExceptionInfo[Problem]) -> str:
    body = problem.value.body
    return f"{problem.value.status} {body.error}: {body.why}"


@pytest.mark.parametrize(
    ("datatype", "content", "values"),
    [
        ("UINT8", b"\x01\x02\xff", [1, 2, 255]),
        ("INT64", b"\xff" * 8 + b"\x02" + bytes(7) + bytes(8), [-1, 2, 0]),
        ("FP32", bytes.fromhex("0000803f 000000c0 00000000"), [1.0, -2.0, 0.0]),
    ],
)
def test_numbers_have_their_lowest_byte_first(datatype: str, content: bytes, values: list[float]) -> None:
    read = tensor_of_bytes("x", datatype, [3, 1], content)
    assert (read.shape, read.datatype, np.ravel(read.values).tolist()) == ([3, 1], datatype, values)
    written = tensor_of_values("x", datatype, [3, 1], values)
    assert (written.to_bytes(), written.datatype) == (content, datatype)
    swapped = Tensor("x", np.asarray(values, NUMBERS[datatype].newbyteorder(">")))
    assert swapped.to_bytes() == content


def test_texts_stand_behind_their_lengths() -> None:
    content = b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c"
    read = tensor_of_bytes("x", "BYTES", [3], content)
    assert (read.values, read.shape, read.datatype) == ([b"ab", b"", b"c"], [3], "BYTES")
    assert read.to_bytes() == content
    assert tensor_of_values("x", "BYTES", [2], [b"a", b"b"]).values == [b"a", b"b"]
    assert Tensor("x", [b"a", b"b"], (1, 2)).shape == [1, 2]


@pytest.mark.parametrize(
    ("datatype", "shape", "content", "why"),
    [
        ("UINT8", [2], b"123", "it has 3 bytes, not 2"),
        ("FP32", [300], b"1", "it has 1 bytes, not 1,200"),
        ("BYTES", [1], b"\1\0\0", "an end in the middle of a length, not none"),
        ("BYTES", [1], b"\2\0\0\0a", "an end in the middle of a text, not none"),
        ("BYTES", [2], b"\1\0\0\0a", "it has 1 texts, not 2"),
        ("BYTES", [1], b"\1\0\0\0a" * 3, "it has 2 texts, not 1"),
        ("BYTES", [0], b"\0\0\0\0", "it has 1 texts, not 0"),
        ("FP16", [1], b"12", "understood are UINT8, INT64, FP32, BYTES"),
        ("UINT8", [-1], b"", "lengths are 0 or more, and 8 at most"),
        ("UINT8", [1] * 9, b"1", "lengths are 0 or more, and 8 at most"),
    ],
)
def test_bytes_of_another_length_are_refused(datatype: str, shape: list[int], content: bytes, why: str) -> None:
    with pytest.raises(Problem) as problem:
        tensor_of_bytes("x", datatype, shape, content)
    assert said_of(problem).startswith("400 ")
    assert why in said_of(problem)


@pytest.mark.parametrize(
    ("datatype", "shape", "values", "why"),
    [
        ("UINT8", [1], 7, "400 the data of `x` is not a list: "),
        ("BYTES", [1], ["a"], "400 the data of `x` is not a list of texts: "),
        ("BYTES", [2], [b"a"], "it has 1 texts, not 2"),
        ("UINT8", [2], [[1], [2, 3]], "400 the data of `x` cannot be read: "),
        ("UINT8", [2], [1], "it has 1 values, not 2"),
        ("UINT8", [1], [1.0], "400 the data of `x` does not fit UINT8: "),
        ("UINT8", [1], [256], "does not fit UINT8"),
        ("UINT8", [1], [-1], "does not fit UINT8"),
        ("FP32", [1], ["1"], "does not fit FP32"),
        ("FP32", [1], [True], "does not fit FP32"),
    ],
)
def test_values_of_another_kind_are_refused(datatype: str, shape: list[int], values: Any, why: str) -> None:
    with pytest.raises(Problem) as problem:
        tensor_of_values("x", datatype, shape, values)
    assert why in said_of(problem)


def test_limits_and_nothing_at_all_are_taken() -> None:
    assert np.ravel(tensor_of_values("x", "UINT8", [2], [0, 255]).values).tolist() == [0, 255]
    assert tensor_of_values("x", "UINT8", [0, 3], []).shape == [0, 3]
    assert tensor_of_bytes("x", "UINT8", [1] * 8, b"1").shape == [1] * 8


def question(**more: Any) -> bytes:
    """A question about one input of two bytes, as JSON."""
    one = {"name": "images", "datatype": "UINT8", "shape": [2], "data": [1, 2]}
    return json.dumps({"inputs": [one], **more}).encode()


def test_inputs_are_read_as_lists_as_base64_and_behind_the_json() -> None:
    inputs = [
        {"name": "a", "datatype": "UINT8", "shape": [2], "parameters": {"binary_data_size": 2}},
        {"name": "b", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(b"file").decode()]},
        {"name": "c", "datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": 1}},
        {"name": "d", "datatype": "BYTES", "shape": [1], "data": base64.b64encode(b"one").decode()},
    ]
    text = json.dumps({"id": "7", "inputs": inputs}).encode()
    asked, binary = read_question(text + b"123", str(len(text)))
    assert (asked.id, binary) == ("7", frozenset())
    assert [np.ravel(it.values).tolist() for it in asked.inputs] == [[49, 50], [b"file"], [51], [b"one"]]


@pytest.mark.parametrize(
    ("more", "binary"),
    [
        ({}, set()),
        ({"parameters": {"binary_data_output": True}}, {"*"}),
        ({"parameters": {"binary_data_output": 1}}, set()),
        ({"outputs": [{"name": "a", "parameters": {"binary_data": True}}, {"name": "b"}]}, {"a"}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}],
            },
            {"b"},
        ),
    ],
)
def test_outputs_are_binary_where_each_or_all_are_asked_for_so(more: dict[str, Any], binary: set[str]) -> None:
    assert read_question(question(**more), None)[1] == binary


def test_wanted_outputs_may_ask_for_the_first_classes() -> None:
    outputs = [{"name": "logits", "parameters": {"classification": 3}}, {"name": "probabilities"}]
    wanted = read_question(question(outputs=outputs), None)[0].wanted
    assert wanted == [Wanted.parse("logits", 3), Wanted.parse("probabilities", 0)]


def asking(size: Any, behind: bytes = b"12", **more: Any) -> tuple[bytes, str]:
    """A question whose input says that so many bytes follow, and how long its JSON is."""
    one = {"name": "a", "datatype": "UINT8", "shape": [2], "parameters": {"binary_data_size": size}, **more}
    text = json.dumps({"inputs": [one]}).encode()
    return text + behind, str(len(text))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (asking(3), "400 `a` has not the binary data that it should: binary_data_size is 3, and 2 bytes follow"),
        (asking(-1), "binary_data_size is -1"),
        (asking("2"), 'binary_data_size is "2"'),
        (asking(True), "binary_data_size is true"),
        (asking(2, data=[1, 2]), "`a` has not the binary data that it should"),
        (asking(2, b"1234"), "400 the body goes on behind its last input: 2 bytes are left"),
        ((question(), "9999"), "400 Inference-Header-Content-Length is `9999`: the body has "),
        ((question(), "+1"), "Inference-Header-Content-Length is `+1`"),
        ((question(), "\u00b2"), "Inference-Header-Content-Length is"),
        ((question(), "0" * 20), "Inference-Header-Content-Length is"),
        ((b"{", None), "400 the request is not JSON: "),
        ((b"[" * 100_000, None), "400 the request is not JSON: "),
        ((b"{}", None), "400 the request is not understood: "),
        ((b'{"inputs": []}', None), "400 the request is not understood: "),
    ],
)
def test_what_cannot_be_understood_is_said(body: tuple[bytes, str | None], said: str) -> None:
    with pytest.raises(Problem) as problem:
        read_question(*body)
    assert said in said_of(problem)


def test_a_header_may_be_as_long_as_the_body() -> None:
    text = question()
    assert read_question(text, str(len(text)))[0].inputs[0].shape == [2]
    assert read_question(text, "0" * (19 - len(str(len(text)))) + str(len(text)))[0].inputs


@pytest.mark.parametrize(("limit", "text"), [("_MOST_OBJECTS", '{"a":{}}'), ("_MOST_LISTS", "[[]]")])
def test_more_objects_or_lists_than_may_be_are_not_read(monkeypatch: pytest.MonkeyPatch, limit: str, text: str) -> None:
    usual = {"_MOST_OBJECTS": 1000, "_MOST_LISTS": 200_000}
    assert getattr(inference_json, limit) == usual[limit]
    monkeypatch.setattr(inference_json, limit, 1)
    with pytest.raises(Problem) as problem:
        read_question(text.encode(), None)
    assert "it holds too many objects or lists" in said_of(problem)
    monkeypatch.setattr(inference_json, limit, 2)
    with pytest.raises(Problem) as problem:
        read_question(text.encode(), None)
    assert "too many" not in said_of(problem)


OUTPUTS = [Tensor("a", np.array([[1, 2]], "<i8")), Tensor("b", [b"x"])]


def test_an_answer_is_json_or_has_its_binary_values_behind_it() -> None:
    asked = Inference([], [], "7")
    text, headers = write_answer(("m", "1"), asked, OUTPUTS, frozenset())
    assert headers == {"Content-Type": "application/json"}
    assert json.loads(text) == {
        "model_name": "m", "model_version": "1", "id": "7",
        "outputs": [
            {"name": "a", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]},
            {"name": "b", "datatype": "BYTES", "shape": [1], "data": ["x"]},
        ],
    }  # fmt: skip
    body, headers = write_answer(("m", "1"), Inference([], [], ""), OUTPUTS, frozenset({"b"}))
    length = int(headers["Inference-Header-Content-Length"])
    assert headers["Content-Type"] == "application/octet-stream"
    assert body[length:] == b"\1\0\0\0x"
    assert json.loads(body[:length])["outputs"][1] == {
        "name": "b", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5},
    }  # fmt: skip
    assert "id" not in json.loads(body[:length])
    assert write_answer(("m", "1"), asked, OUTPUTS, frozenset({"*"}))[0].endswith(b"\2" + bytes(7) + b"\1\0\0\0x")


def test_more_values_than_json_may_have_are_asked_for_as_binary_data(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inference_json._MOST_IN_JSON == 1_048_576
    monkeypatch.setattr(inference_json, "_MOST_IN_JSON", 1)
    with pytest.raises(Problem) as problem:
        write_answer(("m", "1"), Inference([], [], ""), OUTPUTS, frozenset())
    assert said_of(problem) == "413 the answer is too large for JSON: `a` has 2 values"
    monkeypatch.setattr(inference_json, "_MOST_IN_JSON", 2)
    assert write_answer(("m", "1"), Inference([], [], ""), OUTPUTS, frozenset())
