"""Drift: the images of late against those that the model was validated on, over real requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from convsmith.bundle.predictor import load
from convsmith.deploy.reference import add_reference
from convsmith.serve import drift
from convsmith.serve.app import create_app
from convsmith.serve.metrics import FOLDER
from tests.colours import SIDE, write_colour_bundle
from tests.serve.running import PATIENCE, served, served_by_command
from tests.serve.test_metrics import Numbers, number, numbers


def image(number: int, light: float = 1.0) -> Image.Image:
    """A noisy image whose colours and brightness vary with its number."""
    draw = np.random.default_rng(number)
    pixels = draw.uniform(0, 1, (SIDE, SIDE, 3)) * draw.uniform(20, 180, 3) * light
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def png(number: int, light: float = 1.0) -> bytes:
    content = io.BytesIO()
    image(number, light).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a reference of 500 images."""
    folder = write_colour_bundle(tmp_path_factory.mktemp("drift") / "bundle")
    opened = load(folder)
    add_reference(folder, lambda number: opened.preprocess(image(number)), 500)
    return folder


def after(bundle: Path, contents: Iterator[bytes]) -> Numbers:
    """The numbers of a server that has answered these images."""
    with served(create_app(bundle)) as (_, url), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for content in contents:
            assert client.post("/predict", files={"image": content}).status_code == 200
        return numbers(url)


@pytest.fixture(scope="module")
def unshifted(bundle: Path) -> Numbers:
    return after(bundle, (png(10_000 + number) for number in range(400)))


@pytest.fixture(scope="module")
def shifted(bundle: Path) -> Numbers:
    return after(bundle, (png(10_000 + number, light=1.5) for number in range(400)))


@pytest.mark.parametrize("kind", ["class", "confidence", "brightness"])
def test_images_of_the_same_kind_stay_under_a_tenth(unshifted: Numbers, kind: str) -> None:
    assert 0 < number(unshifted, "convsmith_drift_psi", model="model", kind=kind) < 0.1


def test_brighter_images_raise_the_index_of_brightness_above_a_quarter(shifted: Numbers) -> None:
    assert number(shifted, "convsmith_drift_psi", kind="brightness") > 0.25
    assert number(shifted, "convsmith_drift_psi", kind="class") < 0.1


def test_the_window_is_shown_by_bin(unshifted: Numbers) -> None:
    assert number(unshifted, "convsmith_drift_window", kind="brightness") == 400
    assert len([name for name, labels in unshifted if name.endswith("window") and ("kind", "class") in labels]) == 3


def test_few_images_have_no_index(bundle: Path) -> None:
    found = after(bundle, (png(number) for number in range(drift.FEWEST - 1)))
    assert not [name for name, _ in found if name == "convsmith_drift_psi"]
    assert number(found, "convsmith_drift_window", kind="class") == drift.FEWEST - 1


def test_old_images_leave_the_window(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "WINDOW", 200)
    found = after(bundle, (png(number, light=1.5 if number < 200 else 1.0) for number in range(400)))
    assert number(found, "convsmith_drift_window", kind="brightness") == 200
    assert number(found, "convsmith_drift_psi", kind="brightness") < 0.15


def test_refused_images_count_for_nothing(bundle: Path) -> None:
    with served(create_app(bundle)) as (_, url):
        httpx.post(f"{url}/predict", files={"image": b"no image"})
        assert number(numbers(url), "convsmith_drift_window") == 0


def test_an_old_bundle_has_no_index(colour_bundle: Path) -> None:
    found = after(colour_bundle, (png(number) for number in range(3)))
    assert not [name for name, _ in found if name.startswith("convsmith_drift")]


def test_processes_that_share_a_folder_have_one_index(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    half = drift.FEWEST // 2
    with served_by_command(bundle) as (_, one), served_by_command(bundle) as (_, two):
        for first, url in ((0, one), (half, two)):
            with httpx.Client(base_url=url, timeout=PATIENCE) as client:
                for number_of_image in range(first, first + half):
                    client.post("/predict", files={"image": png(number_of_image, light=1.5)})
                client.get("/metrics")
        for url in (one, two):
            assert number(numbers(url), "convsmith_drift_psi", kind="brightness") > 0.25
