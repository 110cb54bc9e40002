"""The Open Inference Protocol over HTTP: what clients of Triton and KServe ask, and what they are answered."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from convsmith.bundle.predictor import load
from convsmith.serve import inference
from convsmith.serve.app import create_app
from tests.colours import LABELS, colour_model, picture, write_colour_bundle
from tests.serve.running import PATIENCE, post, served
from tests.serve.test_masks import masks_url
from tests.stripes import stripes, stripes_png

assert masks_url  # a fixture

INFER = "/v2/models/model/infer"


@pytest.fixture(scope="module")
def images(colour_bundle: Path) -> NDArray[np.uint8]:
    """Preprocessed images of all colours, [3, C, H, W]."""
    bundle = load(colour_bundle)
    return np.stack([bundle.preprocess(picture(colour)) for colour in LABELS])


@pytest.fixture(scope="module")
def logits(colour_bundle: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return load(colour_bundle).logits(images)


def ask(url: str, body: Any, content: bytes = b"", path: str = INFER) -> httpx.Response:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if content else {}
    return httpx.post(f"{url}{path}", content=text + content, headers=headers, timeout=PATIENCE)


def tensor(images: NDArray[np.uint8], **more: Any) -> dict[str, Any]:
    about = {"name": "images", "datatype": "UINT8", "shape": list(images.shape)}
    return {"inputs": [{**about, "data": images.ravel().tolist()}], **more}


def files(*contents: bytes, **more: Any) -> dict[str, Any]:
    data = [base64.b64encode(it).decode() for it in contents]
    return {"inputs": [{"name": "files", "datatype": "BYTES", "shape": [len(data)], "data": data}], **more}


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {it["name"]: it for it in answer.json()["outputs"]}


def test_the_server_and_its_health(url: str) -> None:
    about = httpx.get(f"{url}/v2").json()
    assert about["name"] == "convsmith"
    assert about["extensions"] == ["binary_tensor_data", "classification"]
    assert httpx.get(f"{url}/v2/health/live").json() == {"live": True}
    assert httpx.get(f"{url}/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/model/ready", "/v2/models/model/versions/1/ready"):
        assert httpx.get(url + path).json() == {"name": "model", "ready": True}


@pytest.mark.parametrize("path", ["/v2/models/model", "/v2/models/model/versions/1"])
def test_a_model_says_what_it_takes_and_gives(url: str, path: str) -> None:
    about = httpx.get(url + path).json()
    assert (about["name"], about["versions"], about["platform"]) == ("model", ["1"], "onnxruntime_onnx")
    assert about["inputs"] == [
        {"name": "images", "datatype": "UINT8", "shape": [-1, 3, 8, 8]},
        {"name": "files", "datatype": "BYTES", "shape": [-1]},
    ]
    assert [(it["name"], it["datatype"], it["shape"]) for it in about["outputs"]] == [
        ("logits", "FP32", [-1, 3]),
        ("answer", "BYTES", [-1]),
        ("class_id", "INT64", [-1]),
        ("label", "BYTES", [-1]),
        ("score", "FP32", [-1]),
    ]


def test_preprocessed_images_get_logits_and_classes(
    url: str, images: NDArray[np.uint8], logits: NDArray[np.float32]
) -> None:
    answer = ask(url, tensor(images, id="7"))
    found = outputs(answer)
    assert {key: answer.json()[key] for key in ("id", "model_name", "model_version")} == {
        "id": "7",
        "model_name": "model",
        "model_version": "1",
    }
    assert found["logits"]["shape"] == [3, 3]
    assert np.array_equal(np.array(found["logits"]["data"], np.float32), logits.ravel())
    assert found["label"]["data"] == list(LABELS)
    assert found["class_id"]["data"] == [0, 1, 2]


def test_what_the_client_of_kserve_sends_besides_is_passed_over(url: str, images: NDArray[np.uint8]) -> None:
    body = tensor(images[:1], model_name="model", id=None, parameters=None, outputs=None)
    body["inputs"][0]["parameters"] = None
    assert outputs(ask(url, body))["label"]["data"] == ["red"]


def test_nested_data_are_understood(url: str, images: NDArray[np.uint8]) -> None:
    body = tensor(images)
    body["inputs"][0]["data"] = images.tolist()
    assert outputs(ask(url, body))["label"]["data"] == list(LABELS)


def test_image_files_get_the_answers_of_predict(url: str) -> None:
    contents = [picture("blue", "JPEG", (30, 20)), picture("red")]
    found = outputs(ask(url, files(*contents)))
    assert [json.loads(it) for it in found["answer"]["data"]] == [post(url, it).json() for it in contents]
    assert found["label"]["data"] == ["blue", "red"]


def test_binary_data_come_and_go(url: str, images: NDArray[np.uint8], logits: NDArray[np.float32]) -> None:
    about = {"name": "images", "datatype": "UINT8", "shape": list(images.shape)}
    body = {
        "inputs": [{**about, "parameters": {"binary_data_size": images.nbytes}}],
        "outputs": [{"name": "label", "parameters": {"binary_data": True}}, {"name": "score"},
                    {"name": "logits", "parameters": {"binary_data": True}}],
    }  # fmt: skip
    answer = ask(url, body, images.tobytes())
    length = int(answer.headers["Inference-Header-Content-Length"])
    found = {it["name"]: it for it in json.loads(answer.content[:length])["outputs"]}
    assert list(found) == ["label", "score", "logits"]
    assert len(found["score"]["data"]) == 3
    labels = b"".join(struct.pack("<I", len(it)) + it.encode() for it in LABELS)
    assert found["label"]["parameters"] == {"binary_data_size": len(labels)}
    assert answer.content[length:] == labels + logits.tobytes()


def test_binary_files_are_understood(url: str) -> None:
    contents = [picture("blue"), picture("red")]
    content = b"".join(struct.pack("<I", len(it)) + it for it in contents)
    about = {"name": "files", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(content)}}
    assert outputs(ask(url, {"inputs": [about]}, content))["label"]["data"] == ["blue", "red"]


def test_all_outputs_may_be_wanted_as_binary_data(url: str, images: NDArray[np.uint8]) -> None:
    answer = ask(url, tensor(images, parameters={"binary_data_output": True}))
    length = int(answer.headers["Inference-Header-Content-Length"])
    sizes = [it["parameters"]["binary_data_size"] for it in json.loads(answer.content[:length])["outputs"]]
    assert len(sizes) == 5
    assert sum(sizes) == len(answer.content) - length


def test_logits_may_be_classified(url: str, images: NDArray[np.uint8]) -> None:
    wanted = [{"name": "logits", "parameters": {"classification": 2}}]
    found = outputs(ask(url, tensor(images[1:2], outputs=wanted)))
    assert (found["logits"]["datatype"], found["logits"]["shape"]) == ("BYTES", [1, 2])
    assert [it.split(":")[1:] for it in found["logits"]["data"]] == [["1", "green"], ["0", "red"]]


def test_many_images_run_in_parts(
    url: str, images: NDArray[np.uint8], logits: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "TOGETHER", 2)
    found = outputs(ask(url, tensor(np.concatenate([images] * 3), outputs=[{"name": "logits"}])))
    assert np.allclose(np.array(found["logits"]["data"], np.float32).reshape(9, 3), np.tile(logits, (3, 1)))


def test_masks_are_answers_of_files_and_logits_of_pixels(masks_url: str, pixel_bundle: Path) -> None:
    found = outputs(ask(masks_url, files(stripes_png("red", "blue"), stripes_png("green", size=(3, 4)))))
    assert [json.loads(it)["size"] for it in found["answer"]["data"]] == [[9, 15], [3, 4]]
    pixels = np.ascontiguousarray(stripes("red", "blue").transpose(2, 0, 1))[None]
    found = outputs(ask(masks_url, tensor(pixels)))
    assert found["logits"]["shape"] == [1, 3, 9, 15]
    expected = load(pixel_bundle).logits(pixels)
    assert np.array_equal(np.array(found["logits"]["data"], np.float32), expected.ravel())


def test_a_bundle_with_embeddings_gives_them(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    model = onnx.load_from_string(colour_model())
    model.graph.node.append(onnx.helper.make_node("Identity", ["means"], ["embeddings"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["N", 3]))
    bundle = write_colour_bundle(tmp_path / "bundle", model.SerializeToString(), embeddings=3)
    with served(create_app(bundle)) as (_, url):
        found = outputs(ask(url, tensor(images)))
    assert found["embeddings"]["shape"] == [3, 3]
    assert np.array_equal(found["embeddings"]["data"], load(bundle).logits_and_embeddings(images)[1].ravel())


GOOD = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 8, 8], "data": [0] * 192}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "not understood"),
        (b'{"inputs": []}', "inputs"),
        ({"inputs": [GOOD, GOOD]}, "there are 2 inputs"),
        ({"inputs": [{**GOOD, "name": "image"}]}, "did you mean `images`"),
        ({"inputs": [{**GOOD, "datatype": "FP32"}]}, "the model takes UINT8 [-1, 3, 8, 8]"),
        ({"inputs": [{**GOOD, "datatype": "FP64"}]}, "understood are"),
        ({"inputs": [{**GOOD, "shape": [3, 8, 8]}]}, "the model takes"),
        ({"inputs": [{**GOOD, "shape": [0, 3, 8, 8], "data": []}]}, "the model takes"),
        ({"inputs": [{**GOOD, "shape": [2, 3, 8, 8]}]}, "does not have the length of its shape"),
        ({"inputs": [{**GOOD, "shape": [-1, 3, 8, 8]}]}, "lengths are 0 or more"),
        ({"inputs": [{**GOOD, "shape": [2**62, 3, 8, 8]}]}, "does not have the length"),
        ({"inputs": [{**GOOD, "data": [256] * 192}]}, "does not fit UINT8"),
        ({"inputs": [{**GOOD, "data": [0.5] * 192}]}, "does not fit UINT8"),
        ({"inputs": [{**GOOD, "data": ["a"] * 192}]}, "does not fit UINT8"),
        ({"inputs": [{**GOOD, "data": [True] * 192}]}, "does not fit UINT8"),
        ({"inputs": [{**GOOD, "data": [10**30] * 192}]}, "does not fit UINT8"),
        ({"inputs": [{**GOOD, "data": [[0], [0, 1]]}]}, "cannot be read"),
        ({"inputs": [{**GOOD, "data": None}]}, "not a list"),
        ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 5}}]}, "binary_data_size is 5"),
        ({"inputs": [GOOD], "outputs": [{"name": "logit"}]}, "did you mean `logits`"),
        ({"inputs": [GOOD], "outputs": [{"name": "label", "parameters": {"classification": 1}}]}, "not classified"),
        ({"inputs": [GOOD], "outputs": [{"name": "logits", "parameters": {"classification": "x"}}]}, "not a number"),
        ({"inputs": [GOOD], "outputs": [{"nam": "logits"}]}, "outputs[0].name"),
        (files(b"hello"), "cannot read"),
        ({"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": ["!"]}]}, "base64"),
        ({"inputs": [{"name": "files", "datatype": "BYTES", "shape": [2], "data": ["AAAA"]}]}, "length"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(url: str, body: Any, reason: str) -> None:
    answer = ask(url, body)
    assert answer.status_code == (415 if reason == "cannot read" else 400)
    assert list(answer.json()) == ["error"]
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("header", ["x", "-1", "9999999999", "1e3", "²"])
def test_a_wrong_length_of_the_header_is_400(url: str, header: str) -> None:
    headers = {b"Inference-Header-Content-Length": header.encode()}
    answer = httpx.post(url + INFER, content=json.dumps(files(picture("red"))), headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/none", 404),
        ("GET", "/v2/models/model/versions/2", 404),
        ("GET", "/v2/models/none/ready", 404),
        ("POST", "/v2/models/none/infer", 404),
        ("POST", "/v2/models/model/versions/2/infer", 404),
        ("GET", "/v2?x=1", 422),
    ],
)
def test_an_error_has_the_shape_of_the_protocol(url: str, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, url + path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_large_logits_are_sent_as_binary_data_only(masks_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.serve.inference_json._MOST_IN_JSON", 100)
    answer = ask(masks_url, tensor(np.zeros((1, 3, 9, 15), np.uint8)))
    assert (answer.status_code, "binary data" in answer.json()["error"]) == (413, True)


KEYS = ("inputs", "outputs", "name", "datatype", "shape", "data", "parameters", "binary_data_size")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["images", "files", "UINT8", "BYTES", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["inputs", "outputs", "name", "datatype", "shape", "data", "parameters", "binary_data_size"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30), st.binary(max_size=9))
def test_nothing_that_is_sent_breaks_the_server(url: str, body: bytes, content: bytes) -> None:
    assert 400 <= ask(url, body, content).status_code < 500
