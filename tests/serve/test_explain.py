"""POST /explain: a picture of where the model looked."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.heat import colours
from convsmith.serve.app import create_app
from tests.colours import SIDE, picture
from tests.serve.running import served

HALVES = np.zeros((SIDE, SIDE, 3), np.uint8)
HALVES[:, : SIDE // 2, 0], HALVES[:, SIDE // 2 :, 2] = 200, 60


def png(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def ask(url: str, query: str = "", content: bytes | None = None) -> httpx.Response:
    return httpx.post(f"{url}/explain{query}", files={"image": ("photo.png", content or png(HALVES))})


@pytest.mark.parametrize(("query", "hot"), [("", "left"), ("?class_id=0", "left"), ("?class_id=2", "right")])
def test_the_picture_is_hot_where_the_class_is(url: str, query: str, hot: str) -> None:
    answer = ask(url, query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    shown = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    of_heat = (shown - 0.45 * HALVES) / 0.55  # what is left of the colours of heat
    columns = slice(0, SIDE // 2) if hot == "left" else slice(SIDE // 2, SIDE)
    assert np.abs(of_heat[:, columns] - colours()[255]).max() < 2


@pytest.mark.parametrize(
    ("query", "status"),
    [("?class_id=3", 422), ("?class_id=-1", 422), ("?class=0", 422), ("?model=other", 404), ("?version=7", 404)],
)
def test_what_there_is_none_of_is_refused(url: str, query: str, status: int) -> None:
    assert ask(url, query).status_code == status


def test_what_is_not_an_image_is_refused(url: str) -> None:
    assert ask(url, content=b"no image").status_code == 415


def test_one_image_at_a_time_is_explained(url: str) -> None:
    several = [("image", ("a.png", picture("red"))), ("image", ("b.png", picture("blue")))]
    answer = httpx.post(f"{url}/explain", files=several)
    assert (answer.status_code, answer.json()["error"]) == (422, "one image at a time is explained")


def test_a_model_for_masks_says_that_it_has_no_map(pixel_bundle: Path) -> None:
    with served(create_app(pixel_bundle)) as (_, url):
        assert ask(url).status_code == 404
        assert [it["cam"] for it in httpx.get(f"{url}/page/models").json()] == [False]


def test_an_explained_image_is_counted_and_not_kept_as_a_sample(colour_bundle: Path, tmp_path: Path) -> None:
    with served(create_app(colour_bundle, sample=1.0, sample_dir=tmp_path)) as (_, url):
        ask(url)
        lines = httpx.get(f"{url}/metrics").text.splitlines()
    assert 'convsmith_images_total{model="model",status="200"} 1.0' in lines
    assert list(tmp_path.iterdir()) == []
