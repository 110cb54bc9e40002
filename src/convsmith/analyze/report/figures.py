"""The final figures with their intervals, those of each class, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from convsmith.analyze.house_page import plain_table, text
from convsmith.analyze.report.confusion import taken_for
from convsmith.analyze.report.draw_chart import draw_chart
from convsmith.bundle.figures.certainty_intervals import wilson
from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.errors import counted
from convsmith.words import figure_text, is_count, metric_name

_SHARES = ("top1", "top3", "top5", "top10")  # of images


def cards(shown: Mapping[str, tuple[str, str]]) -> str:
    """A row of large figures.

    Args:
        shown: by what they are, each in words, and a few words below.
    """
    drawn = "".join(
        f'<div class="card figure"><dt>{text(name)}</dt><dd><strong>{text(value)}</strong>'
        f'<span class="quiet">{text(below)}</span></dd></div>'
        for name, (value, below) in shown.items()
    )
    return f'<dl class="cards">{drawn}</dl>\n'


def between(name: str, interval: tuple[float, float] | None) -> str:
    """Where a figure lies with 95 % certainty, in words; nothing where it is not known."""
    return "" if interval is None else " to ".join(figure_text(name, end).removesuffix(" %") for end in interval)


def final_figures(evaluation: Evaluation) -> str:
    """All figures over all images."""
    held_out = "that the training held out" if evaluation.held_out else "that were given"
    left_out = f" {counted(len(evaluation.unreadable), 'image')} could not be judged." if evaluation.unreadable else ""
    told = f"{counted(evaluation.images, 'image')} {held_out}.{left_out}"
    return _figures(told, evaluation.figures, evaluation.intervals)


def figures_of_validation(metrics: Mapping[str, float], images: int | None) -> str:
    """The figures of a bundle on the validation images; those that are shares of images have an interval.

    Args:
        metrics: by name.
        images: how many they are shares of; None: that is not known.
    """
    if not metrics:
        return ""
    intervals = {name: wilson(metrics[name], images) for name in _SHARES if images and name in metrics}
    told = f"{counted(images, 'image')} for validation." if images else "Measured on the images for validation."
    return _figures(told, metrics, intervals)


def _figures(told: str, figures: Mapping[str, float | None], intervals: Mapping[str, tuple[float, float]]) -> str:
    known = {name: value for name, value in figures.items() if value is not None}
    rows = [(metric_name(it), figure_text(it, value), between(it, intervals.get(it))) for it, value in known.items()]
    head = ("figure", "value", "95 % interval")
    if not intervals:
        return f"<p>{told}</p>\n" + plain_table("Figures", head[:2], [row[:2] for row in rows])
    about = "An interval holds the figure of other images of the kind with 95 % certainty."
    return f"<p>{told} {about}</p>\n" + plain_table("Figures", head, rows)


def class_table(
    labels: Sequence[str], classes: Mapping[str, Sequence[float | None]], confusion: Sequence[Sequence[int]] | None
) -> str:
    """A row for each class, the worst first by the first fraction; a script sorts it by any column.

    Args:
        labels: K names.
        classes: figures of each class [K], by name.
        confusion: counts [K][K]; None where classes do not exclude each other.
    """
    names = list(classes)
    main = next((name for name in names if not is_count(name)), names[0])
    order = sorted(range(len(labels)), key=lambda k: (classes[main][k] is None, classes[main][k] or 0.0))
    instead = None if confusion is None else taken_for(np.asarray(confusion, np.int64), labels)
    head = ("class", *(["said instead"] if instead else []), *map(metric_name, names))

    def row(k: int) -> Iterator[str]:
        yield labels[k]
        if instead:
            yield instead[k]
        yield from (figure_text(name, classes[name][k]) for name in names)

    told = f"<p>The lowest {text(metric_name(main))} first; a column's title sorts by it.</p>\n"
    return told + plain_table(
        "Classes", head, map(tuple, map(row, order)), names=2 if instead else 1, kind="tall sorts"
    )


def draw_all(charts: Sequence[Chart], name: str) -> str:
    """Charts beside each other.

    Args:
        charts: what is drawn.
        name: letters that no other group of charts of the page has.
    """
    drawn = "".join(draw_chart(chart, f"{name}{i}") for i, chart in enumerate(charts))
    return f'<div class="grid broad">{drawn}</div>\n' if drawn else ""
