"""Every link of the docs leads to a file that is there, and to a heading that is in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / ".github").rglob("*.md")), *sorted(DOCS.rglob("*.md"))]
SITE = (REPOSITORY / "zensical.toml").read_text("utf-8")
WRITTEN = {
    DOCS / name for name in re.findall(r'"(reference/[\w-]+\.md|changelog\.md)"', SITE)
}  # when the site is built
_CODE = re.compile(r"^( *)(`{3,}).*?^\1\2$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")


def links(text: str) -> Iterator[str]:
    """The addresses that a page links to, but for those of other hosts."""
    for found in _LINK.finditer(_CODE.sub(" code ", text)):
        address = found[1] or found[2] or found[3]
        if not re.match(r"[a-z]+:", address):
            yield address


def headings(text: str) -> set[str]:
    """The names by which GitHub and the site link to the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(name if name not in found else f"{name}-1")
    return found


def broken(page: Path, text: str) -> Iterator[str]:
    """The links of a page that lead nowhere."""
    for address in links(text):
        name, _, heading = address.partition("#")
        there = (page.parent / name).resolve() if name else page
        if there in WRITTEN:
            continue  # building the site looks at its headings
        if (
            not there.exists()
            or not there.is_relative_to(REPOSITORY)
            or (
                heading
                and there.suffix == ".md"
                and heading not in headings(text if there == page else there.read_text("utf-8"))
            )
        ):
            yield address


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_link_is_broken(page: Path) -> None:
    assert list(broken(page, page.read_text("utf-8"))) == []


def test_every_page_is_in_the_navigation_and_every_name_there_is_a_page() -> None:
    named = set(re.findall(r'"([\w/-]+\.md)"', SITE))
    assert tomllib.loads(SITE)["project"]["docs_dir"] == "build/docs"
    assert named == {str(it.relative_to(DOCS)) for it in [*WRITTEN, *DOCS.rglob("*.md")]}


def test_every_page_that_messages_and_docstrings_name_is_there() -> None:
    source = "\n".join(it.read_text("utf-8") for it in (REPOSITORY / "src/convsmith").rglob("*.py"))
    assert {name for name in re.findall(r"\bdocs/[\w/-]+\.md", source) if not (REPOSITORY / name).exists()} == set()


PAGE = """\
# A `page` of two words
## Again
## Again
[there](page.md#a-page-of-two-words) [here](#again-1) [code: `[0](1)`](#again) [other](https://example.org)
`[no](link.md)` ![picture](none.png) [none](none.md) [no heading](#none)
```
# no heading
[no](link.md)
```
"""


def test_broken_links_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.test_links.REPOSITORY", tmp_path)
    (tmp_path / "page.md").write_text(PAGE)
    assert list(broken(tmp_path / "page.md", PAGE)) == ["none.png", "none.md", "#none"]
