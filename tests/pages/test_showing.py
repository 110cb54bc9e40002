"""The parts that pages share, in Chromium: what a person sees, hears and does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convsmith.pages import PARTS, joined
from tests.data.folders import png

pytestmark = pytest.mark.slow
NASTY = "<img src=x onerror=alert(1)>"
TOP = [{"class_id": 1, "label": NASTY, "score": 0.9}, {"class_id": 0, "label": "dog", "score": 0.1}]
ANSWERS = {
    "class": {**TOP[0], "top": TOP, "set": TOP, "distance": {"value": 0.5, "percentile": 97.0}},
    "unknown": {**TOP[0], "top": TOP, "unknown": True},
    "labels": {"labels": TOP[:1], "top": TOP},
    "mask": {
        "size": [2, 3],
        "classes": [
            {"class_id": 1, "label": "road", "pixels": 4, "share": 0.67},
            {"class_id": 0, "label": "sky", "pixels": 2, "share": 0.33},
        ],
        "runs": [[0, 2], [1, 4]],
    },
}
ENTRY = """
import { chooseImage } from "PARTS/choose_image.js";
import { showAnswer } from "PARTS/show_answer.js";
const place = document.querySelector("#answer");
globalThis.taken = [];
globalThis.show = (answer) => {
  const picture = document.createElement("canvas");
  picture.width = 3;
  picture.height = 2;
  place.replaceChildren(showAnswer(answer, picture, { name: "photo.jpg" }));
};
chooseImage(document.querySelector("#choose"), async (image, name) => {
  taken.push([name, image.size]);
});
"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>parts</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="style.css">
<main><h1>parts</h1><div id="choose"></div><div id="answer"></div></main><script src="page.js"></script></html>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "entry.js").write_text(ENTRY.replace("PARTS", str(PARTS)).lstrip())
    (folder / "page.js").write_text(joined(folder / "entry.js"))
    (folder / "index.html").write_text(PAGE)
    (folder / "style.css").write_bytes((PARTS / "style.css").read_bytes())
    return folder


def opened(browser: Any, folder: Path, **options: Any) -> Any:
    tab = browser.new_page(**options)
    tab.goto((folder / "index.html").as_uri())
    return tab


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(browser: Any, folder: Path, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = opened(browser, folder, color_scheme=scheme, viewport={"width": 390, "height": 800})
    tab.evaluate("it => show(it)", ANSWERS[name])
    assert [(it["impact"], it["id"]) for it in axe.Axe().run(tab).response["violations"]] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_labels_are_text_whatever_they_hold(browser: Any, folder: Path) -> None:
    tab = opened(browser, folder)
    tab.evaluate("it => show(it)", ANSWERS["class"])
    assert tab.get_by_role("heading", level=2).inner_text() == f"{NASTY}, 90.0 %"
    assert tab.locator("#answer img").count() == 0


def test_bars_are_as_long_as_the_probabilities(browser: Any, folder: Path) -> None:
    tab = opened(browser, folder)
    tab.evaluate("it => show(it)", ANSWERS["class"])
    long, short = (tab.locator(".bar span").nth(i).bounding_box()["width"] for i in (0, 1))
    assert long / short == pytest.approx(9, rel=0.05)


def test_a_mask_lies_over_the_image_as_strongly_as_the_slider_says(browser: Any, folder: Path) -> None:
    tab = opened(browser, folder)
    tab.evaluate("it => show(it)", ANSWERS["mask"])
    mask = tab.locator(".layers canvas").nth(1)
    pixels = "it => [...it.getContext('2d').getImageData(0, 0, 3, 2).data]"
    assert mask.evaluate(pixels) == [0, 0, 0, 255] * 2 + [128, 0, 0, 255] * 4
    slider = tab.get_by_label("Opacity of the mask")
    slider.focus()
    slider.press("Home")
    assert mask.evaluate("it => getComputedStyle(it).opacity") == "0"


def test_files_are_taken_from_the_chooser_the_clipboard_and_a_drop(browser: Any, folder: Path) -> None:
    tab = opened(browser, folder)
    image = {"name": "a.png", "mimeType": "image/png", "buffer": png()}
    tab.get_by_label("Drop images here").set_input_files([image, {**image, "name": "b.png"}])
    give = """([kind, property]) => {
      const data = new DataTransfer();
      data.items.add(new File(["x"], kind, {type: "image/png"}));
      data.items.add(new File(["x"], "text", {type: "text/plain"}));
      const event = new Event(kind, {bubbles: true});
      event[property] = data;
      document.body.dispatchEvent(event);
    }"""
    tab.evaluate(give, ["paste", "clipboardData"])
    tab.evaluate(give, ["drop", "dataTransfer"])
    tab.wait_for_function("taken.length === 6")
    assert [name for name, _ in tab.evaluate("taken")] == ["a.png", "b.png", "paste", "text", "drop", "text"]
