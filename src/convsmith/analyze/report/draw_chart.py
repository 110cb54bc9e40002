"""Charts as inline SVG by matplotlib, whose colours are those of the page, and whose text stays text.

Without fonts and scripts in it a chart is 10 to 20 kB, a tenth of what Altair, Bokeh or Plotly bring along.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from convsmith.analyze.house_page import text
from convsmith.bundle.figures.chart import Chart, Line
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _GRID = "#000101", "#000102"  # stand for colours of the page, and occur nowhere else
_CYCLE = [f"#00020{i}" for i in range(8)]
_DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))  # tell lines apart without colours
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "convsmith", "font.size": 9, "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK, "text.color": _INK, "xtick.color": _INK, "ytick.color": _INK, "grid.color": _GRID,
    "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False,
    "legend.frameon": False, "legend.fontsize": 8, "path.simplify_threshold": 0.3,
}  # fmt: skip
_PAGE = {_INK: "currentColor", _GRID: "var(--line)"} | {colour: f"var(--c{i})" for i, colour in enumerate(_CYCLE)}
_MOST_POINTS = 400  # of a line: more than a screen shows


def draw_chart(chart: Chart, name: str) -> str:
    """The chart as a figure of HTML: an SVG with a title and a description for those who do not see it.

    Args:
        chart: its numbers.
        name: letters and digits, which no other chart of the page has.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5, 3.1))
        axes = figure.add_axes((0.16, 0.15, 0.82, 0.82))
        _fill(axes, chart)
        return framed(figure, chart.title, " ".join(filter(None, [_described(chart), chart.note])), name, chart.note)


def framed(figure: Figure, title: str, described: str, name: str, note: str = "") -> str:
    """A figure of matplotlib as one of HTML."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, of_page in _PAGE.items():
        svg = svg.replace(colour, of_page)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)  # ids are of the whole page
    svg = re.sub(r"font-family: [^;\"]*; ?|<style.*?</style>|(?<=[^ ]) +(?=<)|\n", "", svg)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None  # matplotlib writes it
    inner = svg[svg.index(">") + 1 :]
    caption = f"<figcaption>{text(note)}</figcaption>" if note else ""
    return (
        f'<figure class="chart card"><h3>{text(title)}</h3><svg role="img" {box.group()} '
        f'aria-labelledby="{name}-title {name}-about"><title id="{name}-title">{text(title)}</title>'
        f'<desc id="{name}-about">{text(described)}</desc>{inner}{caption}</figure>\n'
    )


def _fill(axes: Axes, chart: Chart) -> None:
    axes.set_xlabel(chart.across)
    axes.set_ylabel(chart.up)
    axes.grid(axis="y", linewidth=0.6)
    if chart.diagonal:
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=(0, (2, 3)))
    for i, (name, (across, up)) in enumerate(chart.bars.items()):
        width = across[1] - across[0] if len(across) > 1 else 0.8
        axes.bar(across, up, width, color=_CYCLE[(i + 1) % 8], alpha=0.35, label=for_terminal(name))
    for i, (name, line) in enumerate(chart.lines.items()):
        across, up = _thinned(line)
        few = len(across) <= 30
        axes.plot(
            across, up, color=_CYCLE[i % 8], linestyle=_DASHES[i % 4], linewidth=1.6,
            marker="o" if few else None, markersize=3.2, label=for_terminal(name),
        )  # fmt: skip
    if chart.fractions:
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
    if chart.log:
        axes.set_yscale("log")
    axes.tick_params(length=0)
    if len(chart.lines) + len(chart.bars) > 1:
        axes.legend(ncols=1 if len(chart.lines) < 6 else 2)


def _thinned(line: Line) -> Line:
    """The line by no more points than a screen shows, its last one among them."""
    across, up = line
    step = max(1, -(-len(across) // _MOST_POINTS))
    chosen = range(len(across) - 1, -1, -step)[::-1]
    return tuple(across[i] for i in chosen), tuple(up[i] for i in chosen)


def _described(chart: Chart) -> str:
    """The lines in words: where each begins and ends, and between what it lies."""
    told = [f"{chart.up} over {chart.across}."]
    for name, (_, up) in {**chart.lines, **chart.bars}.items():
        if up:
            told.append(f"{name}: from {up[0]:.4g} to {up[-1]:.4g}, lowest {min(up):.4g}, highest {max(up):.4g}.")
    return " ".join(told)
