"""POST /predict of a bundle for segmentation: JSON, a PNG of the classes, or a JPEG that shows them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.segmentation import Segmentation, from_runs
from convsmith.bundle.tasks.segmentation import JPEG, PNG
from convsmith.serve.answers import JSON
from convsmith.serve.app import create_app
from tests.bundle.test_decode_damage import png
from tests.colours import picture
from tests.serve.running import PATIENCE, post, served
from tests.serve.test_bad_requests import assert_problem
from tests.stripes import stripes, stripes_mask, stripes_png

SCENE = ("red", "green", "red", "blue", "red")
SIZE = (9, 25)


@pytest.fixture(scope="module")
def masks_url(pixel_bundle: Path) -> Iterator[str]:
    """The address of a server that segments."""
    with served(create_app(pixel_bundle)) as (_, address):
        yield address


def ask(url: str, accept: str | None, content: bytes | None = None) -> httpx.Response:
    content = stripes_png(*SCENE, size=SIZE) if content is None else content
    with httpx.Client(timeout=PATIENCE) as client:
        client.headers.pop("accept") if accept is None else client.headers.update({"accept": accept})
        return client.post(f"{url}/predict", files={"image": ("a.png", content)})


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/*", "text/html, */*;q=0.1"])
def test_the_answer_is_json_where_nothing_else_is_asked_for(masks_url: str, accept: str | None) -> None:
    answer = ask(masks_url, accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)


def test_json_has_the_size_the_areas_and_the_runs(masks_url: str) -> None:
    answer = ask(masks_url, JSON).json()
    assert answer.keys() == {"size", "classes", "runs", "meta"}
    assert answer["size"] == [9, 25]
    assert answer["classes"] == [
        {"class_id": 0, "label": "red", "pixels": 135, "share": 0.6},
        {"class_id": 1, "label": "green", "pixels": 45, "share": 0.2},
        {"class_id": 2, "label": "blue", "pixels": 45, "share": 0.2},
    ]
    assert np.array_equal(from_runs(answer["runs"], answer["size"]), stripes_mask(*SCENE, size=SIZE))


def test_top_limits_the_classes_that_json_lists(masks_url: str) -> None:
    answer = post(masks_url, stripes_png(*SCENE, size=SIZE), query="?top=1").json()
    assert [entry["label"] for entry in answer["classes"]] == ["red"]


@pytest.mark.parametrize("accept", [PNG, JPEG])
def test_the_top_of_a_picture_is_422(masks_url: str, accept: str) -> None:
    files = {"image": ("a.png", stripes_png(*SCENE))}
    answer = httpx.post(f"{masks_url}/predict?top=1", files=files, headers={"Accept": accept}, timeout=PATIENCE)
    assert_problem(answer, 422)


def test_png_has_the_classes_as_pixels_and_their_colours_as_palette(masks_url: str, pixel_bundle: Path) -> None:
    answer = ask(masks_url, PNG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, PNG)
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.mode) == ("PNG", "P")
    assert np.array_equal(np.asarray(image), stripes_mask(*SCENE, size=SIZE))
    bundle: Bundle[Segmentation] = load(pixel_bundle)
    assert answer.content == bundle.predict(stripes(*SCENE, size=SIZE)).index_png()
    assert (answer.headers["x-device"], answer.headers["x-runtime"]) == ("cpu", "onnxruntime")


def test_jpeg_shows_the_colours_over_the_image(masks_url: str, pixel_bundle: Path) -> None:
    answer = ask(masks_url, JPEG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JPEG)
    shown = np.asarray(Image.open(io.BytesIO(answer.content)), np.float32)
    pixels = stripes(*SCENE, size=SIZE)
    bundle: Bundle[Segmentation] = load(pixel_bundle)
    expected = bundle.predict(pixels).overlay(pixels)
    assert np.abs(shown - expected).mean() < 12


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/*", PNG),
        ("image/png, image/jpeg", PNG),
        ("image/jpeg, application/json;q=0.9", JPEG),
        ("image/png;q=0.5, image/jpeg;q=0.8", JPEG),
        ("application/json;q=0.2, image/*;q=0.3", PNG),
        ("image/png;q=0, image/*", JPEG),
    ],
)
def test_the_form_is_the_one_that_accept_likes_best(masks_url: str, accept: str, kind: str) -> None:
    assert ask(masks_url, accept).headers["content-type"] == kind


@pytest.mark.parametrize("accept", ["text/html", "image/webp, text/plain;q=0.5", "*/*;q=0", "application/xml"])
def test_a_form_that_there_is_not_is_406_and_names_those_that_there_are(masks_url: str, accept: str) -> None:
    answer = ask(masks_url, accept)
    assert_problem(answer, 406)
    assert accept in answer.json()["why"]
    assert all(kind in answer.json()["fix"] for kind in (JSON, PNG, JPEG))


def test_a_classifier_answers_json_whatever_is_asked_for(url: str) -> None:
    assert ask(url, PNG, picture("blue")).json()["label"] == "blue"


@pytest.mark.parametrize("accept", [JSON, PNG, JPEG])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (41, 3), (120, 201)])
def test_images_of_any_size_get_answers_of_their_size(masks_url: str, accept: str, size: tuple[int, int]) -> None:
    answer = ask(masks_url, accept, stripes_png("blue", size=size))
    if accept == JSON:
        assert tuple(answer.json()["size"]) == size
    else:
        assert Image.open(io.BytesIO(answer.content)).size == size[::-1]


def test_an_image_of_too_many_pixels_is_413(masks_url: str) -> None:
    assert_problem(post(masks_url, png(100_000, 100_000)), 413)


def test_an_image_too_large_to_be_segmented_is_413_and_says_what_helps(
    masks_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.bundle.segment.MAX_PASS_PIXELS", 200)
    answer = post(masks_url, stripes_png(*SCENE, size=SIZE))
    assert_problem(answer, 413)
    assert answer.json()["error"] == "the uploaded file is too large"
    assert answer.json()["fix"] == "Scale it down first, or look at it through a `window`."


def test_what_is_not_an_image_is_415(masks_url: str) -> None:
    assert_problem(ask(masks_url, PNG, b"hello"), 415)


def test_openapi_describes_all_answers_and_the_forms_of_a_mask(masks_url: str) -> None:
    description = httpx.get(f"{masks_url}/openapi.json").json()
    responses = description["paths"]["/predict"]["post"]["responses"]
    assert responses["200"]["content"].keys() == {JSON, PNG, JPEG}
    named = {option["$ref"].rpartition("/")[2] for option in responses["200"]["content"][JSON]["schema"]["anyOf"]}
    assert named == {"ClassAnswer", "LabelsAnswer", "MaskAnswer", "Predictions"}
    assert named < description["components"]["schemas"].keys()
    assert "406" in responses


def test_every_reference_in_openapi_leads_somewhere(masks_url: str) -> None:
    description = httpx.get(f"{masks_url}/openapi.json").json()

    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from references(inner)

    found = set(references(description))
    assert found
    for reference in found:
        place = description
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
