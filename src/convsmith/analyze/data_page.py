"""One page about a data set: a single file of HTML that asks no host for anything, and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from convsmith.analyze.contact_sheet import Tile
from convsmith.analyze.data_check import DataCheck
from convsmith.analyze.data_pictures import data_url
from convsmith.analyze.data_tables import shown_classes
from convsmith.analyze.house_page import figures, frame, img, listed, table, text
from convsmith.data.checks.copies import Copies
from convsmith.data.checks.facts import SplitFacts, Suspects, in_pixels
from convsmith.data.dataset import Split

PICTURES = 24  # of each kind, or half as many pairs
_LINES, _CLASSES = 50, 60


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
            f"<h3>{text(f'{it.images:,}: {it.sign}')}</h3>{_grid(it.files, thumbnails)}" for it in found.suspicious
        ),
        "The same image twice": "".join(
            f"<h3>{text(str(it))}</h3>{_pairs(it.pairs, thumbnails)}" for it in _copies(found)
        ),
        "Images unlike their class": _outliers(found, thumbnails),
        "Labels that are probably wrong": _labels(found, thumbnails),
        "Images as they are learned from": figures((data_url(tile.pixels), tile.caption) for tile in tiles),
    }
    return frame(title, parts)


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
    return f"<p>{text(str(found.outliers))}</p>{_grid(found.outliers.files, thumbnails)}" if found.outliers else ""


def _verdict(found: DataCheck) -> str:
    lines = [f'<p class="problem">{text(found.problem)}</p>'] if found.problem else []
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
        cells = "".join(f'<td class="number">{text(cell)}</td>' for cell in (f"{it.images:,}", *sizes))
        return f'<tr><th scope="row">{text(split)}</th>{cells}<td>{text(kinds)}</td></tr>'

    head = "".join(f'<th scope="col">{it}</th>' for it in ("split", "images", "smallest", "median", "largest", "files"))
    return table("Splits", head, (row(split, it) for split, it in facts.items()))


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
        rows.append(f'<tr><th scope="row">{text(found.classes[number])}</th>{cells}{bar}</tr>')
    splits = "".join(f'<th scope="col">{text(f"{split} {found.counted}")}</th>' for split in found.facts)
    return table("Classes", f'<th scope="col">class</th>{splits}<th scope="col">of training</th>', rows)


def _labels(found: DataCheck, thumbnails: Mapping[str, str]) -> str:
    errors = found.label_errors.errors[:PICTURES] if found.label_errors else ()
    return figures(
        (thumbnails.get(it.name, ""), f"{it.label}, probably {it.likely} ({it.likely_probability:.0%}): {it.name}")
        for it in errors
    )


def _lines(lines: Sequence[str]) -> str:
    shown = [*lines[:_LINES], *([f"and {len(lines) - _LINES:,} more"] if len(lines) > _LINES else [])]
    return listed(shown)


def _grid(names: Sequence[str], thumbnails: Mapping[str, str]) -> str:
    return figures((thumbnails.get(name, ""), name) for name in names[:PICTURES])


def _pairs(pairs: Sequence[tuple[str, str]], thumbnails: Mapping[str, str]) -> str:
    drawn = "".join(
        f'<figure><div class="pair">{img(thumbnails.get(one, ""))}{img(thumbnails.get(other, ""))}</div>'
        f"<figcaption>{text(one)}<br>{text(other)}</figcaption></figure>"
        for one, other in pairs[: PICTURES // 2]
    )
    return f'<div class="grid">{drawn}</div>'
