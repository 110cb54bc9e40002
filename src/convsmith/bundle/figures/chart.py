"""A chart as plain numbers: whoever has them says what is drawn, and knows nothing of how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Line = tuple[tuple[float, ...], tuple[float, ...]]
"""Places along the horizontal and along the vertical axis, [N] each."""


@dataclass(frozen=True)
class Chart:
    """Lines and bars over one axis.

    Attributes:
        title: what it shows.
        across: what the horizontal axis is.
        up: what the vertical axis is.
        lines: by name.
        bars: heights by name, in place of lines; each is as broad as its neighbour is far.
        diagonal: draw the line on which both axes are equal.
        fractions: both axes go from 0 to 1.
        log: the vertical axis is logarithmic.
        note: a sentence below.
    """

    title: str
    across: str
    up: str
    lines: Mapping[str, Line] = field(default_factory=dict)
    bars: Mapping[str, Line] = field(default_factory=dict)
    diagonal: bool = False
    fractions: bool = False
    log: bool = False
    note: str = ""
