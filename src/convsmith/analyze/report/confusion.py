"""Classes that are taken for each other: a table of few, a picture of many, and the pairs that are confused most."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.analyze.house_page import image_url, plain_table, table, text

_CELLS = 24  # classes that a table has room for
_PIXELS = 1200  # classes that a picture has room for
_PAIRS = 30
_RIGHT, _WRONG = (47, 109, 179), (200, 84, 27)  # of the picture, on light and dark pages
_DIGITS = 4  # of a count in a cell


def confused(confusion: Sequence[Sequence[int]], labels: Sequence[str], unit: str) -> str:
    """The confusion matrix as HTML.

    Args:
        confusion: counts [K][K], rows true and columns predicted.
        labels: K names.
        unit: what is counted.
    """
    counts = np.asarray(confusion, np.int64)
    total, right = int(counts.sum()), int(np.trace(counts))
    if not total:
        return ""
    order = beside_each_other(counts)
    draw = _cells if len(labels) <= _CELLS else _picture
    return (
        f"<p>Rows are true classes, columns what was said: {right:,} of {total:,} {unit} are right. Classes that are "
        "taken for each other stand beside each other.</p>\n"
        + draw(counts[np.ix_(order, order)], [labels[k] for k in order], unit)
        + _pairs(counts, labels, unit)
    )


def shares_of_true(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of each true class that was said to be each class, [K, K]; 0 for a class without images."""
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def beside_each_other(counts: NDArray[np.int64]) -> list[int]:
    """An order of the classes: a chain that grows, at either end, by the class that is confused most with the end.

    It begins with the two that are confused most; between equals, and where nothing is confused, the lower number comes
    first.
    """
    shares = shares_of_true(counts)
    alike = shares + shares.T
    np.fill_diagonal(alike, -1)
    if len(alike) < 2:
        return list(range(len(alike)))
    first, second = map(int, np.unravel_index(alike.argmax(), alike.shape))
    if alike[first, second] <= 0:
        return list(range(len(alike)))
    chain = [first, second]
    alike[:, chain] = -1  # columns of those that are placed
    while len(chain) < len(alike):
        ends = chain[0], chain[-1]
        found = [int(alike[end].argmax()) for end in ends]
        scores = [alike[end, it] for end, it in zip(ends, found, strict=True)]
        if scores[0] > scores[1]:
            chain.insert(0, found[0])
        else:
            chain.append(found[1])
        alike[:, [chain[0], chain[-1]]] = -1
    return chain


def most_confused(counts: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """The pairs of a true class and another that is said, the most frequent first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(wrong)) for place in places]
    return [(row, column) for row, column in pairs if wrong[row, column]]


def taken_for(counts: NDArray[np.int64], labels: Sequence[str]) -> list[str]:
    """Which other class is said most often of each, and how often of all that is said of it; empty where none is."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    found = []
    for row, other in enumerate(wrong.argmax(axis=1).tolist()):
        share = wrong[row, other] / max(int(counts[row].sum()), 1)
        found.append(f"{labels[other]} ({100 * share:.1f} %)" if share else "")
    return found


def _cells(counts: NDArray[np.int64], labels: Sequence[str], unit: str) -> str:
    shares = shares_of_true(counts)
    in_percent = counts.max() >= 10**_DIGITS
    head = "<td></td>" + "".join(f'<th scope="col" class="up"><span>{text(label)}</span></th>' for label in labels)
    rows = []
    for i, label in enumerate(labels):
        cells = []
        for k in range(len(labels)):
            said = f"{100 * shares[i, k]:.1f}" if in_percent else f"{counts[i, k]}"
            kind = ' class="right"' if i == k else ""
            tint = f' style="--share: {45 * shares[i, k] ** 0.5:.0f}%"' if counts[i, k] else ""
            cells.append(f"<td{kind}{tint}>{said if counts[i, k] else ''}</td>")
        rows.append(f'<tr><th scope="row">{text(label)}</th>{"".join(cells)}</tr>')
    what = f"the percent of the {unit} of the true class" if in_percent else unit
    return f'<p class="quiet">Cells count {what}.</p>\n' + table("Confusion matrix", head, rows, "matrix")


def _picture(counts: NDArray[np.int64], labels: Sequence[str], unit: str) -> str:
    told = ""
    if len(labels) > _PIXELS:
        wrong = counts.sum(axis=1) - np.diagonal(counts)
        kept = np.sort(np.argsort(-wrong, kind="stable")[:_PIXELS])
        told = f"<p>Of {len(labels):,} classes the picture shows the {_PIXELS:,} with the most errors.</p>"
        counts, labels = counts[np.ix_(kept, kept)], [labels[k] for k in kept]
    rows, columns = np.nonzero(counts)
    sparse = {
        "labels": [text(label) for label in labels],
        "rows": rows.tolist(),
        "columns": columns.tolist(),
        "counts": counts[rows, columns].tolist(),
        "unit": unit,
    }
    content = json.dumps(sparse, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'{told}<div class="heat"><div class="wide tall" tabindex="0" role="region" aria-label="Confusion matrix">'
        f'<img class="pixels" width="{len(labels)}" height="{len(labels)}" src="{_png(counts)}" '
        f'alt="Confusion matrix of {len(labels):,} classes; the pairs that are confused most are in the table below">'
        f'</div><output class="control quiet"></output></div>\n'
        f'<script type="application/json" id="counts">{content}</script>\n'
    )


def _png(counts: NDArray[np.int64]) -> str:
    """A pixel for each pair of classes, the more opaque the more of the true class it is."""
    shares = shares_of_true(counts)
    pixels = np.zeros((*counts.shape, 4), np.uint8)
    pixels[..., :3] = _WRONG
    pixels[np.arange(len(counts)), np.arange(len(counts)), :3] = _RIGHT
    pixels[..., 3] = np.where(counts > 0, 105 + 150 * np.sqrt(shares), 0)
    pixels[counts == 0] = 0
    return image_url(Image.fromarray(pixels), "PNG", optimize=True)


def _pairs(counts: NDArray[np.int64], labels: Sequence[str], unit: str) -> str:
    totals = counts.sum(axis=1)
    rows = [
        (labels[true], labels[said], f"{counts[true, said]:,}", f"{100 * counts[true, said] / totals[true]:.1f} %")
        for true, said in most_confused(counts, _PAIRS)
    ]
    if not rows:
        return ""
    head = ("true", "said instead", unit, "of the true class")
    return "<h3>Confused most</h3>\n" + plain_table("Pairs confused most", head, rows, names=2)
