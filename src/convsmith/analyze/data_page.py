"""One page about a data set: a single file of HTML that asks no host for anything, and runs no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import chain

from convsmith.analyze.contact_sheet import Tile
from convsmith.analyze.data_check import DataCheck
from convsmith.analyze.data_pictures import data_url
from convsmith.analyze.data_tables import shown_classes
from convsmith.data.checks.copies import Copies
from convsmith.data.checks.facts import SplitFacts, Suspects, in_pixels
from convsmith.data.dataset import Split
from convsmith.words import for_terminal

PICTURES = 24  # of each kind, or half as many pairs
_LINES, _CLASSES = 50, 60
_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8d8d8, #444); --bar: light-dark(#3b78b8, #6aa5e0);
  --soft: light-dark(#f4f4f4, #262626); --bad: light-dark(#a40000, #ff8f8f); }
* { box-sizing: border-box; } body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto;
  padding: 1rem; background: light-dark(#fff, #161616); color: light-dark(#1c1c1c, #e8e8e8); overflow-wrap: anywhere; }
a { color: light-dark(#0b57a4, #8fc1f5); } nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0;
  list-style: none; } .wide { overflow-x: auto; } table { border-collapse: collapse; overflow-wrap: break-word; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.room { width: 50%; min-width: 6rem; } .bar { height: 1rem; min-width: 1px; background: var(--bar); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem; padding: 0; }
figure { margin: 0; padding: .4rem; background: var(--soft); font-size: .8rem; line-height: 1.3; }
figure img { display: block; max-width: 100%; height: 7rem; object-fit: contain; image-rendering: auto; }
.pair { display: flex; gap: .3rem; } .pair img { width: 50%; } .problem { color: var(--bad); font-weight: 600; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, found: DataCheck, thumbnails: Mapping[str, str], tiles: Sequence[Tile]) -> str:
    """The page.

    Args:
        title: what the data are called; it and all names may be any text.
        found: the findings.
        thumbnails: by the names of images, a picture of each as an URL that holds it.
        tiles: training images as they are learned from.
    """
    parts = {
        "Verdict": _verdict(found),
        "Splits": _splits(found.facts),
        "Classes": _classes(found),
        "Notes": _lines([*found.notes, *map(str, found.repeated)]),
        "Files that cannot be used": _lines([f"{file.path}: {file.told}" for file in found.bad]),
        "Suspicious files": "".join(
            f"<h3>{_text(f'{it.images:,}: {it.sign}')}</h3>{_grid(it.files, thumbnails)}" for it in found.suspicious
        ),
        "The same image twice": "".join(
            f"<h3>{_text(str(it))}</h3>{_pairs(it.pairs, thumbnails)}" for it in _copies(found)
        ),
        "Images unlike their class": _outliers(found, thumbnails),
        "Labels that are probably wrong": _labels(found, thumbnails),
        "Images as they are learned from": _figures((data_url(tile.pixels), tile.caption) for tile in tiles),
    }
    parts = {heading: body for heading, body in parts.items() if body}
    links = "".join(f'<li><a href="#{_anchor(it)}">{_text(it)}</a></li>' for it in parts)
    sections = "".join(
        f'<section id="{_anchor(it)}"><h2>{_text(it)}</h2>{body}</section>\n' for it, body in parts.items()
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<style>{_STYLE}</style></head>\n'
        f'<body><h1>{_text(title)}</h1>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f"<main>\n{sections}</main></body></html>\n"
    )


def names_shown(found: DataCheck) -> set[str]:
    """The names of the images that `page` shows a picture of."""
    pairs = chain.from_iterable(copies.pairs[: PICTURES // 2] for copies in _copies(found))
    files = chain.from_iterable(suspects.files[:PICTURES] for suspects in _suspects(found))
    labels = (error.name for error in (found.label_errors.errors[:PICTURES] if found.label_errors else ()))
    return {*chain.from_iterable(pairs), *files, *labels}


def _copies(found: DataCheck) -> tuple[Copies, ...]:
    return (*found.copies, *found.repeated, *found.alike)


def _suspects(found: DataCheck) -> tuple[Suspects, ...]:
    return (*found.suspicious, *([found.outliers] if found.outliers else []))


def _outliers(found: DataCheck, thumbnails: Mapping[str, str]) -> str:
    return f"<p>{_text(str(found.outliers))}</p>{_grid(found.outliers.files, thumbnails)}" if found.outliers else ""


def _verdict(found: DataCheck) -> str:
    lines = [f'<p class="problem">{_text(found.problem)}</p>'] if found.problem else []
    if found.bad:
        lines.append(f'<p class="problem">{len(found.bad):,} files cannot be used.</p>')
    told = [*found.warnings, *map(str, (*found.copies, *found.suspicious))]
    if found.label_errors is not None:
        told.append(str(found.label_errors))
    return "".join(lines) + _lines(told) or "<p>Nothing is wrong, as far as this look goes.</p>"


def _splits(facts: Mapping[Split, SplitFacts]) -> str:
    def row(split: str, it: SplitFacts) -> str:
        sizes = [in_pixels(size) for size in it.sizes] if it.sizes else ["", "", ""]
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in it.kinds.items())
        cells = "".join(f'<td class="number">{_text(cell)}</td>' for cell in (f"{it.images:,}", *sizes))
        return f'<tr><th scope="row">{_text(split)}</th>{cells}<td>{_text(kinds)}</td></tr>'

    head = "".join(f'<th scope="col">{it}</th>' for it in ("split", "images", "smallest", "median", "largest", "files"))
    return _table(head, (row(split, it) for split, it in facts.items()))


def _classes(found: DataCheck) -> str:
    counts = found.facts["train"].classes
    shown, cut = shown_classes(counts, _CLASSES)
    most = max([1, *counts])
    rows = []
    for place, number in enumerate(shown):
        if place == cut:
            rows.append(f'<tr><td colspan="9">{len(counts) - len(shown):,} classes between</td></tr>')
        cells = "".join(f'<td class="number">{it.classes[number]:,}</td>' for it in found.facts.values())
        bar = f'<td class="room"><div class="bar" style="width: {100 * counts[number] / most:.2f}%"></div></td>'
        rows.append(f'<tr><th scope="row">{_text(found.classes[number])}</th>{cells}{bar}</tr>')
    splits = "".join(f'<th scope="col">{_text(f"{split} {found.counted}")}</th>' for split in found.facts)
    return _table(f'<th scope="col">class</th>{splits}<th scope="col">of training</th>', rows)


def _labels(found: DataCheck, thumbnails: Mapping[str, str]) -> str:
    errors = found.label_errors.errors[:PICTURES] if found.label_errors else ()
    return _figures(
        (thumbnails.get(it.name, ""), f"{it.label}, probably {it.likely} ({it.likely_probability:.0%}): {it.name}")
        for it in errors
    )


def _table(head: str, rows: Iterable[str]) -> str:
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="Table">{table}</div>'


def _lines(lines: Sequence[str]) -> str:
    shown = [*lines[:_LINES], *([f"and {len(lines) - _LINES:,} more"] if len(lines) > _LINES else [])]
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in shown)}</ul>" if shown else ""


def _grid(names: Sequence[str], thumbnails: Mapping[str, str]) -> str:
    return _figures((thumbnails.get(name, ""), name) for name in names[:PICTURES])


def _figures(figures: Iterable[tuple[str, str]]) -> str:
    drawn = "".join(f"<figure>{_img(url)}<figcaption>{_text(text)}</figcaption></figure>" for url, text in figures)
    return f'<div class="grid">{drawn}</div>' if drawn else ""


def _pairs(pairs: Sequence[tuple[str, str]], thumbnails: Mapping[str, str]) -> str:
    drawn = "".join(
        f'<figure><div class="pair">{_img(thumbnails.get(one, ""))}{_img(thumbnails.get(other, ""))}</div>'
        f"<figcaption>{_text(one)}<br>{_text(other)}</figcaption></figure>"
        for one, other in pairs[: PICTURES // 2]
    )
    return f'<div class="grid">{drawn}</div>'


def _img(url: str) -> str:
    return f'<img alt="" src="{escape(url)}">' if url else ""


def _text(text: str) -> str:
    return escape(for_terminal(text))


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")
