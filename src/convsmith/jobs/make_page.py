"""One page about a model that was made: readable anywhere, with nothing outside it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convsmith.bundle.task import Table

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr { border-bottom: 1px solid #ddd; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; }
"""


def page(report: Mapping[str, Any], table: Table) -> str:
    """The page, as HTML.

    Args:
        report: what `Made.to_dict` gives; names in it may be any text.
        table: the figures of the classes.
    """
    evaluation, speed = report["evaluation"], report["benchmark"]
    columns = list(table.columns.values())
    by_class = [(label, *(column[i] for column in columns)) for i, label in enumerate(evaluation["labels"])]
    rows = [
        (row["bundle"], str(row["batch"]), row["stage"], f"{row['p50']:.2f}", f"{row['images_per_second']:,.1f}")
        for row in speed["rows"]
    ]
    parts = [
        _heading("Recommended", [report["verdict"], report["recommended"]]),
        _heading(
            "What was chosen", [*report["reasons"], " ".join([f"recipe {report['recipe']}", *report["overrides"]])]
        ),
        _heading("What it gets right", [f"{evaluation['images']:,} images", *table.headline, *table.remarks]),
        _table(("class", *table.columns), by_class),
        _heading("Float against INT8", []),
        _forms(report),
        _heading("Speed on this machine", [f"{speed['threads']} threads, {speed['images']}; ms of a batch, median"]),
        _table(("bundle", "batch", "stage", "ms", "images/s"), rows),
        _heading("Time that it took", []),
        _table(("stage", "seconds"), [(name, f"{value:.1f}") for name, value in report["seconds"].items()]),
        _heading("What to do next", []),
        f"<pre>{html.escape(chr(10).join(report['commands']))}</pre>",
    ]
    title = html.escape(f"The model of {report['data']}")
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>\n'
        f"<h1>{title}</h1>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _forms(report: Mapping[str, Any]) -> str:
    made = report["int8"]
    if made is None:
        return f"<p>{html.escape(report['verdict'])}</p>"
    rows = [
        (name, f"{form['bytes'] / 1e6:.2f}", f"{form['latency_ms']:.2f}", f"{form['metrics'][made['metric']]:.2%}")
        for name, form in (("float", made["float_model"]), ("INT8", made["int8_model"]))
    ]
    return _table(("model", "MB", "ms of an image", made["metric"].replace("_", " ")), rows)


def _heading(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2>" + (f"<ul>{items}</ul>" if items else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + row("th", head) + "".join(row("td", cells) for cells in rows) + "</table>"
