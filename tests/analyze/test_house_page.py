"""The parts that all pages are made of."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from PIL import Image

from convsmith.analyze.house_page import (
    STYLE,
    check_page,
    figures,
    frame,
    image_url,
    img,
    listed,
    plain_table,
    table,
    write_page,
)
from convsmith.errors import ConvsmithError


def test_a_page_has_the_sections_that_have_a_content_and_links_to_them() -> None:
    page = frame("a < b", {"One & two": "<p>1</p>", "None": "", "Three": "3"}, above="<p>above</p>", style="p {}")
    assert page.replace(STYLE, "") == (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>a &lt; b</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n<style>p {}</style></head>\n"
        "<body><header><h1>a &lt; b</h1>\n<p>above</p></header>\n"
        '<nav aria-label="Sections"><ul><li><a href="#one-&-two">One &amp; two</a></li>'
        '<li><a href="#three">Three</a></li></ul></nav>\n<main>\n'
        '<section id="one-&-two"><h2>One &amp; two</h2>\n<p>1</p></section>\n'
        '<section id="three"><h2>Three</h2>\n3</section>\n</main></body></html>\n'
    )


def test_no_script_runs_but_the_page_s_own() -> None:
    page = frame("t", {}, script="1;")
    digest = base64.b64encode(hashlib.sha256(b"1;").digest()).decode()
    assert f"; script-src 'sha256-{digest}'\">" in page
    assert page.endswith("</main><script>1;</script></body></html>\n")


def test_names_are_headings_of_rows_and_figures_stand_to_the_right() -> None:
    page = plain_table("l<", ("a", "b", "c"), [("1", "2", "<3>")], names=2, kind="tall")
    assert page == (
        '<div class="wide tall" tabindex="0" role="region" aria-label="l&lt;"><table><thead><tr>'
        '<th scope="col">a</th><th scope="col">b</th><th scope="col" class="number">c</th></tr></thead><tbody>'
        '<tr><th scope="row">1</th><td>2</td><td class="number">&lt;3&gt;</td></tr></tbody></table></div>\n'
    )
    assert plain_table("l", ("a", "b"), [("1", "2")]).count('class="number"') == 2
    assert table("l", "", ["x", "y"]).endswith("<tbody>xy</tbody></table></div>\n")


def test_lists_and_pictures_without_a_content_are_left_out() -> None:
    assert listed(["a\n", "<b>"]) == "<ul><li>a\\n</li><li>&lt;b&gt;</li></ul>\n"
    assert figures([("data:1", "a<"), ("", "b")]) == (
        '<div class="grid"><figure><img alt="" src="data:1"><figcaption>a&lt;</figcaption></figure>'
        "<figure><figcaption>b</figcaption></figure></div>"
    )
    assert listed([]) == figures([]) == img("") == ""


def test_a_picture_is_an_url_that_holds_its_file() -> None:
    url = image_url(Image.new("RGB", (3, 2)), "PNG")
    kind, content = re.fullmatch(r"data:image/(\w+);base64,(.*)", url).groups()  # type: ignore[union-attr]
    assert kind == "png"
    assert base64.b64decode(content).startswith(b"\x89PNG")


def test_a_page_ends_in_html_and_may_name_files_that_are_not_text(tmp_path: Path) -> None:
    check_page(tmp_path / "a.HTML")
    check_page(tmp_path / "a.htm")
    with pytest.raises(ConvsmithError, match=r"a\.pdf does not end in \.html"):
        check_page(tmp_path / "a.pdf")
    write_page(tmp_path / "a.html", "é\udcff")
    assert (tmp_path / "a.html").read_bytes() == "é\\udcff".encode()
