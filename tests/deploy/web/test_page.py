"""A web export in Chromium: proved, opened from a disk and from a host, and used by a person."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convsmith as cs
from convsmith.bundle.format import read_manifest
from convsmith.deploy.quantize import quantize_bundle
from convsmith.deploy.web import page
from convsmith.deploy.web.file_server import serve_files
from convsmith.deploy.web.runtime_files import PACKAGE_VARIABLE, runtime_files
from convsmith.errors import ConvsmithError
from convsmith.pages import joined
from tests.browser import chromium
from tests.colours import picture, write_colour_bundle
from tests.deploy.test_quantize import DIGITS, TinyNet, write
from tests.stripes import write_pixel_bundle

pytestmark = pytest.mark.slow
TASKS = ("classification", "multilabel", "segmentation")


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    """Skip where there is no browser, or nothing for it to run."""
    pytest.importorskip("playwright")
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed here")
    try:
        runtime_files()
    except ConvsmithError as error:
        pytest.skip(f"{PACKAGE_VARIABLE} names no package onnxruntime-web: {error.why}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise in which one colour is the strongest, half of them JPEGs, with no classes."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 200, (20 + i, 30, 3), np.uint8)
        pixels[..., i % 3] //= 2
        Image.fromarray(pixels).save(folder / f"{i}.{'jpg' if i % 2 else 'png'}")
    return folder


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    """A web export of each task."""
    folder = tmp_path_factory.mktemp("exports")
    bundles = {
        "classification": write_colour_bundle(folder / "colours", labels=("<b>red</script>", "green", "blue")),
        "multilabel": write_colour_bundle(folder / "labels", task="multilabel", thresholds=(0.5, 0.1, 0.9)),
        "segmentation": write_pixel_bundle(folder / "pixels"),
    }
    for task, bundle in bundles.items():
        cs.export(bundle, "web", folder / task, data)
    return {task: folder / task for task in TASKS}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One with a camera."""
    with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as found:
        yield found


def ready(tab: Any, address: str) -> list[str]:
    """Open a page until its model is there; gives what goes wrong, and what other hosts are asked."""
    told: list[str] = []
    host = address.split("/")[2]
    tab.on(
        "request", lambda it: told.append(it.url) if not re.match(rf"(file|blob|data):|http://{host}/", it.url) else 0
    )
    tab.on("console", lambda it: told.append(it.text))
    tab.on("pageerror", lambda it: told.append(str(it)))
    tab.goto(address)
    tab.locator("#status", has_text="Ready").wait_for(timeout=60_000)
    return told


def look_at(tab: Any, file: Path) -> str:
    """What the page says of a file that is chosen."""
    tab.get_by_label("Drop images here").set_input_files(file)
    status = tab.locator("#status", has_text=re.compile(r"ms\)|cannot be looked at"))
    status.wait_for(timeout=60_000)
    return str(status.inner_text())


@pytest.mark.parametrize("task", TASKS)
def test_what_is_written_was_proved_and_is_a_bundle(exports: dict[str, Path], data: Path, task: str) -> None:
    manifest = read_manifest(exports[task])
    proof = manifest.parity["web"]
    assert manifest.parity["max_abs_diff"] <= 1e-5
    assert proof["logits_max_abs_diff"] <= 1e-5
    assert proof["png"] == {"images": 6, "max_abs_diff": 0, "mean_abs_diff": 0.0, "agreement": 1.0}
    assert proof["jpeg"]["images"] == 6
    assert proof["onnxruntime_web_licence"] == "MIT"
    assert cs.load(exports[task]).predict(data / "0.png").to_dict()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("place", ["disk", "host"])
def test_the_page_answers_as_predict_does_and_asks_nobody(
    browser: Any, exports: dict[str, Path], data: Path, task: str, place: str
) -> None:
    files = {path.name: path.read_bytes() for path in exports[task].iterdir() if path.name != "offline.js"}
    bundle = cs.load(exports[task])
    with serve_files(files) as server:
        tab = browser.new_page()
        told = ready(tab, server.address if place == "host" else (exports[task] / "index.html").as_uri())
        assert "one thread" in tab.locator("#status").inner_text()
        look_at(tab, data / "0.png")
        given = list((data / "0.png").read_bytes())
        said = tab.evaluate("async (it) => (await convsmith.answerTo(new Blob([new Uint8Array(it)]))).answer", given)
        expected = bundle.task.to_json(bundle.predict(data / "0.png"))
        expected.pop("meta")
        assert rounded(said) == rounded(expected)
        assert told == []


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(it) for key, it in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(it) for it in value]
    return round(value, 5) if isinstance(value, float) else value


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("task", TASKS)
def test_nothing_keeps_people_out(browser: Any, exports: dict[str, Path], data: Path, task: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 800}, bypass_csp=True)
    ready(tab, (exports[task] / "index.html").as_uri())
    look_at(tab, data / "1.jpg")
    assert [(it["impact"], it["id"]) for it in axe.Axe().run(tab).response["violations"]] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_reaches_all_of_it_in_order(browser: Any, exports: dict[str, Path], data: Path) -> None:
    tab = browser.new_page()
    ready(tab, (exports["segmentation"] / "index.html").as_uri())
    look_at(tab, data / "0.png")
    tab.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(4):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.type || document.activeElement.tagName"))
    assert reached == ["file", "button", "range", "SUMMARY"]


def test_labels_are_text_whatever_they_hold(browser: Any, exports: dict[str, Path], tmp_path: Path) -> None:
    tab = browser.new_page()
    ready(tab, (exports["classification"] / "index.html").as_uri())
    (tmp_path / "red.png").write_bytes(picture("red"))
    assert look_at(tab, tmp_path / "red.png").startswith("red.png: <b>red</script>, ")
    assert tab.locator("b").count() == 0


def test_a_file_that_is_not_an_image_is_refused_in_words(
    browser: Any, exports: dict[str, Path], tmp_path: Path
) -> None:
    tab = browser.new_page()
    ready(tab, (exports["classification"] / "index.html").as_uri())
    (tmp_path / "no.jpg").write_bytes(b"not an image")
    assert look_at(tab, tmp_path / "no.jpg").startswith("no.jpg cannot be looked at: this browser cannot read it")
    (tmp_path / "cut.png").write_bytes(picture("red")[:50])
    assert look_at(tab, tmp_path / "cut.png").startswith("cut.png cannot be looked at: the PNG file is damaged")


def test_the_camera_is_looked_through(browser: Any, exports: dict[str, Path]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = browser.new_page(bypass_csp=True)
    with serve_files({path.name: path.read_bytes() for path in exports["segmentation"].iterdir()}) as server:
        ready(tab, server.address)
        tab.get_by_role("button", name="Use the camera").click()
        tab.get_by_role("button", name="Look", exact=True).click()
        tab.locator("#status", has_text="camera: ").wait_for(timeout=60_000)
        assert tab.locator(".layers canvas").count() == 2
        assert [(it["impact"], it["id"]) for it in axe.Axe().run(tab).response["violations"]] == []
        tab.get_by_role("button", name="Stop the camera").click()
        assert tab.evaluate("document.querySelector('video').srcObject") is None


def test_pages_of_other_hosts_are_never_asked(browser: Any, exports: dict[str, Path]) -> None:
    tab = browser.new_page()
    ready(tab, (exports["classification"] / "index.html").as_uri())
    with serve_files({}) as other:
        asked = f"fetch('{other.address}').then(() => 'answered', () => 'refused')"
        assert tab.evaluate(asked) == "refused"


def test_the_server_of_the_readme_lets_several_threads_run_it(
    browser: Any, exports: dict[str, Path], data: Path
) -> None:
    readme = (exports["classification"] / "README.md").read_text()
    code = re.search(r"\n((?:    .*\n|\n)*    class Isolated(?:.*\n)*?.*serve_forever\(\)\n)", readme)
    assert code is not None
    lines = [line.removeprefix("    ") for line in code[1].splitlines()]
    program = "\n".join(lines).replace("8000", "0").replace("ThreadingHTTPServer((", "it = ThreadingHTTPServer((")
    program = program.replace(").serve_forever()", "); print(it.server_port, flush=True); it.serve_forever()")
    server = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=exports["classification"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert server.stdout is not None
    try:
        tab = browser.new_page()
        ready(tab, f"http://127.0.0.1:{int(server.stdout.readline())}/")
        assert "threads" in tab.locator("#status").inner_text()
        assert "ms)" in look_at(tab, data / "0.png")
    finally:
        server.kill()
        server.wait()


def test_an_int8_bundle_answers_bit_for_bit(tmp_path: Path, data: Path) -> None:
    noise = np.random.default_rng(0)
    for place in (tmp_path / "digits" / split / label / "0.png" for split in ("train", "val") for label in DIGITS):
        place.parent.mkdir(parents=True)
        Image.fromarray(noise.integers(0, 256, (12, 12, 3), np.uint8)).save(place)
    torch.manual_seed(0)
    bundle = write(TinyNet().eval(), tmp_path / "float")
    quantize_bundle(bundle, tmp_path / "digits", tmp_path / "int8", images=10, max_drop=100)
    report = cs.export(tmp_path / "int8", "web", tmp_path / "out", data)
    assert report.parity["max_abs_diff"] == report.parity["web"]["logits_max_abs_diff"] == 0


def test_a_page_that_sees_something_else_is_not_written(
    tmp_path: Path, data: Path, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "joined", lambda entry: joined(entry).replace("1 << (PRECISION_BITS - 1)", "0"))
    with pytest.raises(ConvsmithError, match=r"of PNG files its input differs by up to \d of 255"):
        cs.export(colour_bundle, "web", tmp_path / "out", data)
    assert not (tmp_path / "out").exists()
