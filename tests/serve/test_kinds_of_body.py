"""POST /predict of raw bytes, JSON, and several images at once."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsmith.bundle.tasks.segmentation import PNG
from convsmith.serve.app import create_app
from tests.colours import LABELS, picture
from tests.serve.running import PATIENCE, post, served
from tests.serve.test_bad_requests import assert_problem, send
from tests.serve.test_masks import masks_url
from tests.stripes import stripes_png

assert masks_url  # a fixture

ENCODED = {colour: base64.b64encode(picture(colour)).decode() for colour in LABELS}


def send_json(url: str, value: Any, query: str = "") -> httpx.Response:
    return httpx.post(f"{url}/predict{query}", json=value, timeout=PATIENCE)


def send_files(url: str, *files: tuple[str, bytes], field: str = "image", accept: str = "*/*") -> httpx.Response:
    parts = [(field, file) for file in files]
    return httpx.post(f"{url}/predict", files=parts, headers={"Accept": accept}, timeout=PATIENCE)


@pytest.mark.parametrize("kind", ["image/png", "image/anything", "application/octet-stream", "IMAGE/PNG; q=1"])
def test_raw_bytes_get_the_answer_of_a_form(url: str, kind: str) -> None:
    assert send(url, picture("blue"), kind).json() == post(url, picture("blue")).json()


def test_bytes_of_no_stated_type_are_an_image(url: str) -> None:
    request = httpx.Request("POST", f"{url}/predict", content=picture("blue"))
    assert "content-type" not in request.headers
    with httpx.Client() as client:
        assert client.send(request).json()["label"] == "blue"


def test_raw_bytes_in_chunks_are_bounded(url: str) -> None:
    assert_problem(send(url, (bytes(1000) for _ in range(1000)), "image/png"), 413)


def test_a_compressed_body_is_415_and_not_unpacked(url: str) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    assert_problem(httpx.post(f"{url}/predict", content=b"x", headers=headers), 415)


@pytest.mark.parametrize(
    "text",
    [
        ENCODED["blue"],
        f"data:image/png;base64,{ENCODED['blue']}",
        "\n".join(ENCODED["blue"][start : start + 76] for start in range(0, len(ENCODED["blue"]), 76)),
    ],
    ids=["plain", "data address", "in lines"],
)
def test_base64_gets_the_answer_of_a_form(url: str, text: str) -> None:
    assert send_json(url, {"image": text}).json() == post(url, picture("blue")).json()


def test_a_list_in_json_gets_a_list_even_of_one(url: str) -> None:
    (answer,) = send_json(url, {"images": [ENCODED["red"]]}).json()["predictions"]
    assert answer == {"name": "images[0]", **post(url, picture("red")).json()}


def test_images_in_json_may_have_names(url: str) -> None:
    images = [{"image": ENCODED["red"], "name": "été/猫.png"}, ENCODED["green"]]
    found = send_json(url, {"images": images}, "?top=1").json()["predictions"]
    assert [(it["name"], it["label"], len(it["top"])) for it in found] == [
        ("été/猫.png", "red", 1),
        ("images[1]", "green", 1),
    ]


@pytest.mark.parametrize("field", ["image", "file"])
def test_several_files_are_answered_in_order_with_their_names(url: str, field: str) -> None:
    files = [(f"{number}.png", picture(LABELS[number % 3])) for number in range(16)]
    found = send_files(url, *files, field=field).json()["predictions"]
    assert [(it["name"], it["label"]) for it in found] == [(name, LABELS[int(name[:-4]) % 3]) for name, _ in files]


def test_an_answer_among_several_is_that_to_the_image_alone(url: str) -> None:
    content = picture("#405060", "JPEG", (300, 200))
    found = send_files(url, ("a", content), ("b", picture("red"))).json()["predictions"]
    assert found[0] == {"name": "a", **post(url, content).json()}


def test_a_bad_image_costs_only_itself(url: str) -> None:
    answer = send_files(url, ("a.png", picture("red")), ("b.txt", b"hello"), ("c.png", picture("blue")))
    first, bad, last = answer.json()["predictions"]
    assert (answer.status_code, first["label"], last["label"]) == (200, "red", "blue")
    assert bad.keys() == {"name", "error"}
    assert bad["error"]["status"] == 415
    assert bad["error"]["error"] == "cannot read b.txt"


def test_a_text_that_is_not_base64_costs_only_itself(url: str) -> None:
    found = send_json(url, {"images": ["!", ENCODED["red"]]}).json()["predictions"]
    assert (found[0]["error"]["status"], found[1]["label"]) == (422, "red")


def test_an_image_alone_that_is_not_base64_is_422(url: str) -> None:
    assert_problem(send_json(url, {"image": "!"}), 422)


def test_several_masks_are_json(masks_url: str) -> None:
    files = [("a", stripes_png("red")), ("b", stripes_png("blue"))]
    found = send_files(masks_url, *files).json()["predictions"]
    assert [it["runs"] for it in found] == [[[0, 135]], [[2, 135]]]
    assert_problem(send_files(masks_url, *files, accept=PNG), 406)


def test_the_number_of_images_can_be_chosen(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle, max_images=2)) as (_, url):
        assert len(send_json(url, {"images": [ENCODED["red"]] * 2}).json()["predictions"]) == 2
        for answer in (
            send_json(url, {"images": [ENCODED["red"]] * 3}),
            send_files(url, *[("a", picture("red"))] * 3),
        ):
            assert_problem(answer, 422)
            assert answer.json()["why"] == "2 images at a time may be sent"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the body is empty"),
        (b"[]", "the JSON is not an object"),
        (b"{}", "`image` is missing"),
        (b'{"image": 1}', "`image` is 1, expected text"),
        (b'{"image": "AAAA", "top": 1}', "unknown key `top`"),
        (b'{"images": []}', "expected a list of at least 1 item"),
        (b'{"images": "AAAA"}', "expected a list"),
        (b'{"images": [1]}', "a section"),
        (b'{"images": ["AAAA"], "image": "AAAA"}', "unknown key `image`"),
        (b'{"url": "https://example.org/a.png", "image": "AAAA"}', "unknown key `image`"),
        (b'{"image": ', "Expecting value"),
        (b"\xff", "invalid start byte"),
        (b"[" * 50_000, "values"),
        (b'{"images": [' + b"{}," * 50_000, "it holds more than"),
        (b'{"a":' * 2_000, "nested"),
        (b'{"\\ud800": 1}', "\\ud800"),
    ],
)
def test_json_without_an_image_is_422_and_says_why(url: str, body: bytes, why: str) -> None:
    answer = send(url, body, "application/json")
    assert_problem(answer, 422)
    assert why in answer.json()["why"]


def test_a_model_is_chosen_by_the_address(colour_bundle: Path, pixel_bundle: Path) -> None:
    with served(create_app({"colours": colour_bundle, "pixels": pixel_bundle})) as (_, url):
        assert post(url, picture("red"), query="?model=colours").json() == post(url, picture("red")).json()
        assert post(url, stripes_png("blue"), query="?model=pixels&version=1").json()["runs"] == [[2, 135]]
        answer = post(url, picture("red"), query="?model=colour")
        assert_problem(answer, 404)
        assert answer.json()["error"] == "there is no model `colour`; did you mean `colours`?"
        assert_problem(post(url, picture("red"), query="?model=colours&version=7"), 404)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(list(ENCODED.values())),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["image", "images", "url", "name"]), inner),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(JSON_VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30))
def test_no_json_whatever_breaks_the_server(url: str, body: bytes) -> None:
    assert send(url, body, "application/json").status_code in (200, 403, 415, 422)
