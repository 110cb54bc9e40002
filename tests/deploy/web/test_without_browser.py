"""The files of a page and their proof, with a stand-in for the browser that computes in Python."""

from __future__ import annotations

import base64
import io
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convsmith.bundle.format import MODEL, read_manifest
from convsmith.bundle.preprocess import read_and_preprocess
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.web import chromium, page, prove_page
from convsmith.deploy.web.chromium import CHROMIUM_VARIABLE, ChromiumPage
from convsmith.deploy.web.file_server import serve_files
from convsmith.deploy.web.page import page_files
from convsmith.deploy.web.runtime import split
from convsmith.errors import ConvsmithError
from tests.colours import bare_manifest, colour_model, picture
from tests.stripes import stripes_png


class Browser:
    """Stands in for `ChromiumPage`, and may be wrong: of pixels, of logits, or of all answers."""

    version = "1.2"

    def __init__(self, bundle: Path, pixels: int = 0, logits: float = 0.0, decision: int | None = None) -> None:
        self.manifest, self.model = read_manifest(bundle), (bundle / MODEL).read_bytes()
        self.pixels, self.logits, self.decision, self.closed = pixels, logits, decision, False

    def ask(self, function: str, given: bytes, about: Any = None) -> bytes:
        if function == prove_page._ANSWER:
            seen = read_and_preprocess(given, self.manifest.preprocess)
            answer = (
                [int(OnnxRuntime(self.model).run(seen[None]).argmax())] if self.decision is None else [self.decision]
            )
            wrong = seen.copy()
            wrong[0, 0, 0] += np.uint8(self.pixels)
            return json.dumps(answer).encode() + b"\n" + wrong.tobytes()
        logits = OnnxRuntime(self.model).run(np.frombuffer(given, np.uint8).reshape(about)) + np.float32(self.logits)
        return json.dumps(list(logits.shape)).encode() + b"\n" + logits.tobytes()

    def close(self) -> None:
        self.closed = True


def proof(monkeypatch: pytest.MonkeyPatch, bundle: Path, *images: bytes, **wrong: Any) -> dict[str, Any]:
    """The figures of a page in a browser that is wrong in such ways."""
    browser = Browser(bundle, **wrong)
    monkeypatch.setattr(prove_page, "ChromiumPage", lambda _: browser)
    try:
        return prove_page.prove_page({MODEL: browser.model}, browser.manifest, images)
    finally:
        assert browser.closed


def test_a_page_that_says_what_python_says_is_proved_by_each_kind_of_file(
    monkeypatch: pytest.MonkeyPatch, colour_bundle: Path
) -> None:
    exact = {"images": 2, "max_abs_diff": 0, "mean_abs_diff": 0.0, "agreement": 1.0}
    assert proof(monkeypatch, colour_bundle, picture("red"), picture("blue", "JPEG")) == {
        "browser": "Chromium 1.2",
        "logits_max_abs_diff": 0.0,
        "png": exact,
        "jpeg": exact,
    }


def test_answers_of_the_page_that_are_others_are_counted(monkeypatch: pytest.MonkeyPatch, colour_bundle: Path) -> None:
    found = proof(monkeypatch, colour_bundle, *map(picture, ("red", "green", "blue", "lime")), decision=1)
    assert found["png"]["agreement"] == found["jpeg"]["agreement"] == 0.5


def test_a_pixel_that_the_page_sees_otherwise_ends_the_proof(
    monkeypatch: pytest.MonkeyPatch, colour_bundle: Path
) -> None:
    with pytest.raises(ConvsmithError, match="of PNG files its input differs by up to 3 of 255"):
        proof(monkeypatch, colour_bundle, picture("blue"), pixels=3)


def test_the_differences_of_a_kind_of_files_are_averaged() -> None:
    kind = prove_page._Kind(2, 3, [0.5, 1.0], 3, 4)
    assert kind.figures() == {"images": 2, "max_abs_diff": 3, "mean_abs_diff": 0.75, "agreement": 0.75}


@pytest.mark.parametrize(("apart", "fails"), [(2e-4, False), (4e-4, True)])
def test_logits_may_differ_by_a_hundred_thousandth_of_the_largest(
    monkeypatch: pytest.MonkeyPatch, colour_bundle: Path, apart: float, fails: bool
) -> None:
    if fails:
        with pytest.raises(ConvsmithError, match=r"from equal pixels its logits differ by up to 0\.0004"):
            proof(monkeypatch, colour_bundle, picture("red"), logits=apart)
    else:  # the largest is 25.5
        assert proof(monkeypatch, colour_bundle, picture("red"), logits=apart)["logits_max_abs_diff"] > 1e-4


def test_an_image_becomes_a_file_of_each_kind(colour_bundle: Path) -> None:
    manifest, png = read_manifest(colour_bundle), stripes_png("red", "blue")
    files = dict(prove_page._as_files(png, manifest))
    assert files["png"] is png
    assert Image.open(io.BytesIO(files["jpeg"])).format == "JPEG"
    jpeg = files["jpeg"]
    assert dict(prove_page._as_files(jpeg, manifest))["jpeg"] is jpeg


def of_channels(count: int) -> Any:
    """The manifest of a bundle for images of so many channels."""
    return bare_manifest(("a",), preprocess=SimpleNamespace(bands=SimpleNamespace(channels=count)))


def test_a_browser_reads_up_to_four_channels_and_a_quarter_of_a_gigabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page._LARGEST == 268_435_456
    monkeypatch.setattr(page, "_LARGEST", 2_000_000)
    page._check(of_channels(4), {MODEL: bytes(2_000_000)})
    with pytest.raises(ConvsmithError, match="up to 4 channels, not 5"):
        page._check(of_channels(5), {MODEL: b""})
    with pytest.raises(ConvsmithError, match=r"too large for the format web, with 3 MB: a browser takes 2 MB\n"):
        page._check(of_channels(3), {MODEL: bytes(2_600_000)})


def test_what_a_page_says_of_its_model_is_text(colour_bundle: Path) -> None:
    manifest = read_manifest(colour_bundle).model_copy(update={"labels": ("</script>", "b", "c")})
    files = page_files(manifest, {MODEL: colour_model(), "more": b"x"})
    text = files["index.html"].decode()
    assert set(files) == {"index.html", "page.js", "style.css", "offline.js"}
    assert "<title>colour: classification of 3 classes</title>" in text
    assert "<summary>All 3 classes</summary>\n<p>&lt;/script&gt;, b, c</p>" in text
    assert "<p>Made with convsmith 0.1.0; run by onnxruntime-web.</p>" in text
    assert page._page(manifest, 1_250_000).count("which has 1.2 MB") == 1
    facts = text.split('id="manifest">')[1].split("</script>")[0]
    assert set(json.loads(facts)) == {"task", "labels", "preprocess", "colours", "thresholds", "calibration"}
    assert json.loads(facts)["labels"][0] == "</script>"


def test_a_page_from_a_disk_finds_its_files_in_parts_that_are_decoded_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert page._PART == 3 * 1024 * 1024
    monkeypatch.setattr(page, "_PART", 6)
    script = "".join(page._offline({"a": b"0123456789ab", 'b"': b"0123456"}))
    one, two, three, four = (base64.b64encode(it).decode() for it in (b"012345", b"6789ab", b"012345", b"6"))
    assert script == (
        f'globalThis.offline = {{\n"a": [\n"{one}",\n"{two}",\n],\n"b\\"": [\n"{three}",\n"{four}",\n],\n}};\n'
    )


def test_files_in_memory_are_served_and_what_is_said_is_kept() -> None:
    with serve_files({"index.html": b"<p>", "run.js": b"1;"}) as server:
        with urllib.request.urlopen(server.address) as answer:
            assert (answer.status, answer.headers["Content-Type"], answer.read()) == (200, "text/html", b"<p>")
        with urllib.request.urlopen(f"{server.address}run.js") as answer:
            assert answer.headers["Content-Length"] == "2"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{server.address}other")
        with urllib.request.urlopen(f"{server.address}said", data=b"bytes") as answer:
            assert answer.status == 204
        assert server.said == b"bytes"


def test_a_line_of_json_and_bytes_behind_it_are_told_apart() -> None:
    assert split(b"[1, 2]\na\nb") == ([1, 2], b"a\nb")


class Tab:
    """A page of playwright's, whose functions turn bytes round."""

    def goto(self, address: str) -> None:
        self.address = address

    def evaluate(self, script: str, about: Any) -> None:
        if about == "fail":
            raise ValueError("Page.evaluate: Error: no such thing\nat line 1")
        assert "(f)(given, about)" in script
        with urllib.request.urlopen(f"{self.address}given") as answer:
            given = answer.read()
        urllib.request.urlopen(f"{self.address}said", data=given[::-1]).close()


@contextmanager
def playwright(started: dict[str, Any]) -> Iterator[Any]:
    """A driver that starts no browser; it notes how one was to be started, and whether it was closed."""

    def launch(**options: Any) -> Any:
        started.update(options)
        return SimpleNamespace(version="9.8", new_page=Tab, close=lambda: started.update(closed=True))

    yield SimpleNamespace(chromium=SimpleNamespace(launch=launch))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How the browser was started."""
    options: dict[str, Any] = {}
    module = SimpleNamespace(sync_api=SimpleNamespace(sync_playwright=lambda: playwright(options)))
    monkeypatch.setitem(sys.modules, "playwright", module)
    monkeypatch.setenv(CHROMIUM_VARIABLE, "/a/browser")
    return options


def test_python_and_a_page_hand_one_another_bytes(started: dict[str, Any]) -> None:
    tab = ChromiumPage({"index.html": b""})
    assert (tab.version, started["executable_path"]) == ("9.8", "/a/browser")
    assert "--disable-background-networking" in started["args"]
    assert tab.ask("f", b"abc") == b"cba"
    with pytest.raises(ConvsmithError, match=r"gives no answer in Chromium: no such thing$"):
        tab.ask("f", b"", "fail")
    assert tab.ask("f", b"12") == b"21"
    tab.close()
    assert started["closed"]


def test_the_browser_that_is_named_is_taken_before_those_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name in ("msedge", "chrome") else None)
    monkeypatch.delenv(CHROMIUM_VARIABLE, raising=False)
    assert chromium._find_chromium() == "/bin/chrome"
    monkeypatch.setenv(CHROMIUM_VARIABLE, "mine")
    assert chromium._find_chromium() == "mine"
    monkeypatch.delenv(CHROMIUM_VARIABLE)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert chromium._find_chromium() is None
