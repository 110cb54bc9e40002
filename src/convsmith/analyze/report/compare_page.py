"""A page on models that were compared: figures, differences, recipes key by key, and curves over each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from convsmith.analyze.house_page import listed, plain_table
from convsmith.analyze.report.figures import between, draw_all
from convsmith.analyze.report.page import write_frame
from convsmith.bundle.figures.chart import Chart
from convsmith.recipe.better import LOSS
from convsmith.recipe.yaml_text import write_yaml
from convsmith.words import figure_text, metric_name

if TYPE_CHECKING:
    from convsmith.analyze.comparison import Comparison


def compare_page(found: Comparison) -> str:
    """The page, as HTML; names of models and images may be any text."""
    parts = {
        "Models": _models(found),
        "Differences": listed(line.strip() for line in found.parts() if isinstance(line, str)),
        "Figures": _figures(found),
        "Recipes": _recipes(found),
        "Curves": draw_all([chart for chart in _curves(found) if chart.lines], "curve"),
    }
    return write_frame(f"{len(found.models)} models on the same images", parts)


def _models(found: Comparison) -> str:
    rows = [
        (
            str(number),
            it.path,
            figure_text(found.metric, it.figures[found.metric]),
            between(found.metric, it.intervals.get(found.metric)),
            f"{it.megabytes:.1f}",
            *("" if ms is None else f"{ms:.2f}" for ms in (it.milliseconds, it.milliseconds_in_all)),
        )
        for number, it in enumerate(found.models, 1)
    ]
    head = ("number", "model", metric_name(found.metric), "95 % interval", "MB", "ms of an image", "ms in all")
    return plain_table("Models", head, rows, names=2)


def _figures(found: Comparison) -> str:
    """A row for each figure: what each model has of it."""
    rows = [
        (metric_name(name), *(figure_text(name, it.figures.get(name)) for it in found.models))
        for name in found.models[0].figures
    ]
    return plain_table("Figures", ("figure", *_numbered(found)), rows)


def _recipes(found: Comparison) -> str:
    """A row for each key in which recipes differ from the first one, whose value stands where they do not."""
    first = {key: pair[0] for it in found.differences for key, pair in it.recipe.items()}
    rows = [
        (key, _said(value), *(_said(it.recipe.get(key, (value, value))[1]) for it in found.differences))
        for key, value in first.items()
    ]
    return plain_table("Recipes", ("key", *_numbered(found)), rows, names=len(found.models) + 1) if rows else ""


def _curves(found: Comparison) -> Iterator[Chart]:
    """The validation of each run over the epochs, by the metric and the loss, and its training loss."""
    for split, name, title in (
        ("val", found.metric, f"{metric_name(found.metric)} of the validation images"),
        ("val", LOSS, "Loss of the validation images"),
        ("train", LOSS, "Loss of the training images"),
    ):
        lines = {}
        for number, model in zip(_numbered(found), found.models, strict=True):
            known = [it for it in model.curves.get(split, ()) if it.get(name) is not None]
            if known:
                lines[number] = tuple(float(it["epoch"]) for it in known), tuple(float(it[name]) for it in known)
        yield Chart(title, "epoch", metric_name(name), lines)


def _numbered(found: Comparison) -> list[str]:
    return [f"model {number}" for number in range(1, len(found.models) + 1)]


def _said(value: object) -> str:
    return "" if value is None else write_yaml(value)
