"""The report in Debian's Chromium: what a person sees, hears and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.analyze.report.confusion import confused
from convsmith.analyze.report.page import write_frame

pytestmark = pytest.mark.slow
TOO_WIDE = "[...document.querySelectorAll('.wide, pre')].filter(it => it.scrollWidth > it.clientWidth + 1).length"


def opened(browser: Any, page: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page, and what went wrong or was asked of others while it opened."""
    tab, told = browser.new_page(**options), list[str]()
    tab.on("request", lambda it: told.append(it.url) if not it.url.startswith(("data:", "file:")) else None)
    tab.on("console", lambda it: told.append(it.text))
    tab.on("pageerror", lambda it: told.append(str(it)))
    tab.goto(page.as_uri())
    return tab, told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["page", "page_of_masks"])
def test_nothing_keeps_people_out(browser: Any, request: pytest.FixtureRequest, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab, _ = opened(browser, request.getfixturevalue(name), color_scheme=scheme, bypass_csp=True)
    found = axe.Axe().run(tab).response["violations"]
    assert [(it["impact"], it["id"]) for it in found if it["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_window_and_asks_for_nothing(browser: Any, page: Path, width: int) -> None:
    tab, told = opened(browser, page, viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert told == []


def test_printed_nothing_is_cut_off(browser: Any, page: Path) -> None:
    tab, _ = opened(browser, page, viewport={"width": 718, "height": 1000})
    tab.emulate_media(media="print")
    assert tab.evaluate(TOO_WIDE) == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 718
    assert tab.pdf(format="A4")[:5] == b"%PDF-"


def test_a_title_of_a_column_sorts_by_it_and_says_so(browser: Any, page: Path) -> None:
    tab, _ = opened(browser, page)
    column = tab.locator("#classes th[scope=col]").filter(has_text="precision").first
    column.get_by_role("button").press("Enter")
    place = column.evaluate("it => it.cellIndex")
    read = f"[...document.querySelectorAll('#classes tbody tr')].map(it => parseFloat(it.cells[{place}].textContent))"
    assert tab.evaluate(read) == sorted(tab.evaluate(read))
    assert column.get_attribute("aria-sort") == "ascending"
    column.get_by_role("button").press("Enter")
    assert tab.evaluate(read) == sorted(tab.evaluate(read), reverse=True)


def test_without_scripts_all_of_the_page_is_there(browser: Any, page: Path) -> None:
    tab, _ = opened(browser, page, java_script_enabled=False)
    assert tab.locator("#classes tbody tr").count() == 3
    assert tab.locator("#confusion .matrix td").count() == 1 + 9


def test_the_picture_of_many_classes_grows_and_says_what_is_under_the_pointer(browser: Any, tmp_path: Path) -> None:
    counts = 5 * np.eye(100, dtype=np.int64)
    counts[3, 7] = 4
    labels = [f"class {k}" for k in range(100)]
    file = tmp_path / "page.html"
    file.write_text(write_frame("many", {"Confusion": confused(counts.tolist(), labels, "images")}), "utf-8")
    tab, told = opened(browser, file)
    image, zoom = tab.locator(".pixels"), tab.get_by_label("Zoom")
    before = image.bounding_box()["width"]
    image.hover(position={"x": 1.5 * before / 100, "y": 0.5 * before / 100})  # the most confused pair comes first
    assert tab.locator("output").inner_text() == "true class 3, said class 7: 4 images"
    zoom.focus()
    zoom.press("End")
    assert image.bounding_box()["width"] > before
    assert told == []
