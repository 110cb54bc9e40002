"""Charts as matplotlib draws them, and the SVG that a page takes of them."""

from __future__ import annotations

import itertools
import re

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from convsmith.analyze.report.draw_chart import _described, _fill, _thinned, draw_chart
from convsmith.bundle.figures.chart import Chart

UP = (tuple(range(31)), tuple(0.5 * k for k in range(31)))
CHART = Chart(
    "Loss <1>",
    "epoch",
    "loss",
    {"train": ((0.0, 1.0, 2.0), (4.0, 0.25, 1.0)), "v\x1bal": UP, "none": ((), ())},
    {"images": ((0.25, 0.75), (3.0, 2.0)), "one": ((5.0,), (1.0,))},
    note="Lower & better.",
)


def test_lines_and_bars_are_told_apart_by_colour_and_dashes() -> None:
    axes = Figure().add_subplot()
    _fill(axes, CHART)
    train, other, _ = axes.lines
    assert [to_hex(line.get_color()) for line in axes.lines] == ["#000200", "#000201", "#000202"]
    assert (train.get_marker(), other.get_marker()) == ("o", "None")
    assert (train.get_linestyle(), other.get_linestyle()) == ("-", "--")
    assert train.get_xydata().tolist() == [[0, 4], [1, 0.25], [2, 1]]  # type: ignore[union-attr]
    images, one = axes.containers
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in images] == [(0, 0.5, 3), (0.5, 0.5, 2)]
    assert [(bar.get_x(), bar.get_width()) for bar in one] == [(4.6, pytest.approx(0.8))]
    assert [to_hex(bars[0].get_facecolor()) for bars in axes.containers] == ["#000201", "#000202"]
    legend = axes.get_legend()
    assert legend is not None
    assert sorted(it.get_text() for it in legend.get_texts()) == ["images", "none", "one", "train", "v\\x1bal"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("epoch", "loss", "linear")


@pytest.mark.parametrize(("points", "marker"), [(30, "o"), (31, "None")])
def test_points_of_short_lines_are_marked(points: int, marker: str) -> None:
    axes = Figure().add_subplot()
    numbers = tuple(map(float, range(points)))
    _fill(axes, Chart("a", "b", "c", {"one": (numbers, numbers)}))
    assert axes.lines[0].get_marker() == marker
    assert axes.get_legend() is None


def test_fractions_have_a_diagonal_and_the_whole_range() -> None:
    axes = Figure().add_subplot()
    line = ((0.25, 0.5), (0.5, 0.75))
    _fill(axes, Chart("a", "b", "c", {"one": line}, {"two": line}, diagonal=True, fractions=True))
    assert axes.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]  # type: ignore[union-attr]
    assert to_hex(axes.lines[0].get_color()) == "#000101"
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (0, 1.02))
    assert axes.get_legend() is not None


def test_an_axis_may_be_logarithmic() -> None:
    axes = Figure().add_subplot()
    _fill(axes, Chart("a", "b", "c", {"one": UP}, log=True))
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(("lines", "columns"), [(5, 1), (6, 2)])
def test_many_lines_have_names_in_two_columns(lines: int, columns: int) -> None:
    axes = Figure().add_subplot()
    _fill(axes, Chart("a", "b", "c", {str(k): UP for k in range(lines)}))
    legend = axes.get_legend()
    assert legend is not None
    assert legend._ncols == columns  # type: ignore[attr-defined]


@pytest.mark.parametrize(("points", "kept"), [(0, 0), (1, 1), (400, 400), (401, 201), (1200, 400), (1201, 301)])
def test_a_long_line_is_thinned_up_to_its_last_point(points: int, kept: int) -> None:
    line = (tuple(range(points)), tuple(-k for k in range(points)))
    across, up = _thinned(line)
    assert len(across) == kept
    assert up == tuple(-k for k in across)
    assert across[-1:] == line[0][-1:]
    assert len({b - a for a, b in itertools.pairwise(across)}) <= 1


def test_the_lines_are_described_in_words() -> None:
    assert _described(CHART) == (
        "loss over epoch. train: from 4 to 1, lowest 0.25, highest 4. v\x1bal: from 0 to 15, lowest 0, highest 15. "
        "images: from 3 to 2, lowest 2, highest 3. one: from 1 to 1, lowest 1, highest 1."
    )


def test_the_figure_names_itself_and_takes_the_colours_of_the_page() -> None:
    figure = draw_chart(CHART, "c7")
    assert figure.startswith(
        '<figure class="chart card"><h3>Loss &lt;1&gt;</h3><svg role="img" viewBox="0 0 360 223.2" '
        'aria-labelledby="c7-title c7-about"><title id="c7-title">Loss &lt;1&gt;</title><desc id="c7-about">loss over '
        "epoch. train: from 4 to 1,"
    )
    assert "highest 1. Lower &amp; better.</desc>" in figure
    assert figure.endswith("</svg><figcaption>Lower &amp; better.</figcaption></figure>\n")
    assert "#0001" not in figure
    assert "#0002" not in figure
    assert {"currentColor", "var(--line)", "var(--c0)", "var(--c1)", "var(--c2)"} <= set(
        re.findall(r"currentColor|var\(--\w+\)", figure)
    )
    assert all(it.startswith("c7-") for it in re.findall(r'(?:\bid="|url\(#|href="#)([^")]+)', figure))
    assert not re.search(r"<style|font-family|<metadata>.*<dc:date", figure)
    assert draw_chart(CHART, "c7") == figure
    assert "figcaption" not in draw_chart(Chart("a", "b", "c"), "c8")
