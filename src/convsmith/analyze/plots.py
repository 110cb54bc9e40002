"""Plots as PNG files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from convsmith.storage import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_plot(file: Path, draw: Callable[[Axes], None]) -> None:
    """Write what `draw` puts into the axes of a new figure as a PNG; no display and no global state is needed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    draw(figure.subplots())
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=144)
    write_file(file, png.getvalue())
