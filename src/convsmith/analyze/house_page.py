"""The house style of pages: one file of HTML that asks no host for anything and is readable without its script."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.errors import ConvsmithError
from convsmith.storage import write_file
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from PIL.Image import Image

STYLE = """
:root { color-scheme: light dark; --page: light-dark(#fff, #141619); --ink: light-dark(#1c1e21, #e6e8ea);
  --quiet: light-dark(#565c64, #a4abb3); --line: light-dark(#d9dce0, #3b4047); --soft: light-dark(#f4f5f7, #1f2227);
  --bar: light-dark(#2f6db3, #6aa5e0); --bad: light-dark(#a40000, #ff9a94); --link: light-dark(#0b57a4, #8fc1f5);
  --c0: light-dark(#2166ac, #7fb8f0); --c1: light-dark(#b2441b, #f5a97f); --c2: light-dark(#1b7837, #7fd694);
  --c3: light-dark(#7b3294, #d3a4ea); --c4: light-dark(#8a6d00, #e3c55a); --c5: light-dark(#01665e, #6fd6ca);
  --c6: light-dark(#a3195b, #f598c4); --c7: light-dark(#4d4d4d, #bdbdbd); }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem 1.2rem 4rem;
  background: var(--page); color: var(--ink); overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1rem 0 .4rem; } h2 { font-size: 1.35rem; margin: 2.6rem 0 .6rem;
  padding-top: .5rem; border-top: 1px solid var(--line); } h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
a { color: var(--link); } p, li { max-width: 52rem; } .quiet, caption { color: var(--quiet); font-size: .88rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; padding: 0; list-style: none; }
.wide { overflow-x: auto; } .tall { overflow: auto; max-height: 36rem; }
.tall thead th { position: sticky; top: 0; background: var(--page); }
table { border-collapse: collapse; overflow-wrap: break-word; } caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } th.number, td.number { text-align: right; } td.number { font-variant-numeric: tabular-nums;
  white-space: nowrap; } td.room { width: 50%; min-width: 6rem; }
.bar { height: 1rem; min-width: 1px; background: var(--bar); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem; padding: 0; }
.grid.broad { grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }
figure { margin: 0; padding: .4rem; background: var(--soft); border-radius: .3rem; font-size: .8rem;
  line-height: 1.35; }
figure img { display: block; max-width: 100%; height: 7rem; object-fit: contain; }
.pair { display: flex; flex-wrap: wrap; gap: .3rem; } .pair img { flex: 1 1 40%; min-width: 0; max-width: 50%; }
.problem { color: var(--bad); font-weight: 600; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; border-radius: .3rem; font-size: .88rem; }
@media print { :root { color-scheme: light; } body { max-width: none; padding: 0; font-size: 11px; }
  nav, .control { display: none; } .wide, .tall { overflow: visible; max-height: none; } pre { white-space: pre-wrap; }
  figure, tr, .card { break-inside: avoid; } h2, h3 { break-after: avoid; } .tall thead th { position: static; }
  th, td { padding-right: .4rem; } td.number { white-space: normal; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def frame(title: str, parts: Mapping[str, str], *, above: str = "", style: str = "", script: str = "") -> str:
    """A page of the sections that have a content.

    Args:
        title: any text.
        parts: the HTML of each section by its heading.
        above: HTML below the title.
        style: what is added to the house style.
        script: the only one that runs; all must be readable without it.
    """
    parts = {heading: body for heading, body in parts.items() if body}
    links = "".join(f'<li><a href="#{anchor(it)}">{text(it)}</a></li>' for it in parts)
    sections = "".join(
        f'<section id="{anchor(it)}"><h2>{text(it)}</h2>\n{body}</section>\n' for it, body in parts.items()
    )
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        policy += f"; script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{STYLE}{style}</style></head>\n'
        f'<body><header><h1>{text(title)}</h1>\n{above}</header>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f"<main>\n{sections}</main>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def table(label: str, head: str, rows: Iterable[str], kind: str = "") -> str:
    """A table in a region that scrolls where it is too wide.

    Args:
        label: what a screen reader calls it.
        head: the cells of the header.
        rows: the rows.
        kind: classes of the region, such as `tall`.
    """
    drawn = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="wide {kind}" tabindex="0" role="region" aria-label="{text(label)}">{drawn}</div>\n'


def plain_table(
    label: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1, kind: str = ""
) -> str:
    """A table of text whose first columns hold names, and the others figures.

    Args:
        label: what a screen reader calls it.
        head: titles of the columns.
        rows: a cell for each.
        names: how many columns hold names.
        kind: see `table`.
    """
    titles = "".join(f'<th scope="col"{"" if i < names else NUMBER}>{text(title)}</th>' for i, title in enumerate(head))
    return table(label, titles, (_row(cells, names) for cells in rows), kind)


NUMBER = ' class="number"'


def _row(cells: Sequence[str], names: int) -> str:
    first, *others = (text(cell) for cell in cells)
    drawn = (f"<td{'' if i < names else NUMBER}>{cell}</td>" for i, cell in enumerate(others, 1))
    return f'<tr><th scope="row">{first}</th>{"".join(drawn)}</tr>'


def listed(items: Iterable[str]) -> str:
    """A list of lines of text; nothing where there are none."""
    found = "".join(f"<li>{text(item)}</li>" for item in items)
    return f"<ul>{found}</ul>\n" if found else ""


def figures(shown: Iterable[tuple[str, str]]) -> str:
    """A grid of pictures, each an URL, with captions."""
    drawn = "".join(f"<figure>{img(url)}<figcaption>{text(caption)}</figcaption></figure>" for url, caption in shown)
    return f'<div class="grid">{drawn}</div>' if drawn else ""


def img(url: str, alt: str = "") -> str:
    """A picture; nothing without an URL."""
    return f'<img alt="{text(alt)}" src="{escape(url)}">' if url else ""


def image_url(picture: Image, kind: str, **options: Any) -> str:
    """A picture as an URL that holds its file, of a kind that Pillow writes with these options."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def text(words: str) -> str:
    """Any text, fit for HTML."""
    return escape(for_terminal(words))


def anchor(heading: str) -> str:
    """The id of a section."""
    return heading.lower().replace(" ", "-")


def check_page(out: Path) -> None:
    """Raise a ConvsmithError unless the name is that of a page."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConvsmithError(f"{out} does not end in .html", fix="Name a file that does.")


def write_page(out: Path, page: str) -> None:
    """Write a page at once; names in it may hold bytes that are not text."""
    write_file(out, page.encode("utf-8", "backslashreplace"))
