"""The table of the classes of a data set: how often each is there, in each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from convsmith.analyze.label_errors import LabelError
from convsmith.data.checks.facts import SplitFacts
from convsmith.data.dataset import Split
from convsmith.tables import add_figures, add_names, new_table
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from rich.table import Table

_LABELS = 10  # that are probably wrong
_SHOWN = 20  # classes; of more, as many of the largest and of the smallest as fit


def shown_classes(counts: Sequence[int], most: int = _SHOWN) -> tuple[list[int], int]:
    """Which classes are shown, by their numbers, and after how many of them others are left out.

    All in their order if there are few; else the largest ones and the smallest ones.
    """
    if len(counts) <= most:
        return list(range(len(counts))), len(counts)
    order = np.argsort(-np.asarray(counts), kind="stable").tolist()
    half = most // 2
    return order[:half] + order[-half:], half


def class_table(classes: Sequence[str], facts: Mapping[Split, SplitFacts], unit: str) -> Table:
    """A row for each class that is shown: how often it is in each split.

    Args:
        classes: their names.
        facts: of each split.
        unit: what is counted: images, or pixels, which are printed as shares too.
    """
    from rich.markup import escape

    table = new_table()
    add_names(table, "class")
    add_figures(table, *(f"{split} {unit}" for split in facts))
    shown, cut = shown_classes(facts["train"].classes)
    for row, number in enumerate(shown):
        if row == cut:
            table.add_row(f"{len(classes) - len(shown):,} classes between", *("…" for _ in facts))
        table.add_row(
            escape(for_terminal(classes[number])), *(_cell(it.classes, number, unit) for it in facts.values())
        )
    return table


def _cell(counts: Sequence[int], number: int, unit: str) -> str:
    if unit == "images":
        return f"{counts[number]:,}"
    return f"{counts[number]:,} ({100 * counts[number] / max(1, sum(counts)):.3g} %)"


def label_table(errors: Sequence[LabelError]) -> Table:
    """A row for each of the first labels that are probably wrong."""
    from rich.markup import escape

    table = new_table()
    add_names(table, "image", "label", "probably")
    add_figures(table, "label", "other")
    for error in errors[:_LABELS]:
        words = (escape(for_terminal(word)) for word in (error.name, error.label, error.likely))
        table.add_row(*words, f"{error.label_probability:.1%}", f"{error.likely_probability:.1%}")
    return table
