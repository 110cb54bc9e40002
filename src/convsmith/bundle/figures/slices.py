"""Parts of the images that a model was judged by, with the figure of each. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from convsmith.bundle.figures.certainty_intervals import Interval
from convsmith.errors import counted
from convsmith.words import for_terminal, metric_name

_SHOWN = 5


@dataclass(frozen=True)
class Slice:
    """Some of the images.

    Attributes:
        conditions: what they have in common: a value in words by the name of what it is of.
        images: how many they are.
        value: the figure of them.
        interval: where that lies with 95 % certainty on other images of the kind.
        expected: the figure that it is compared with: that of all images; of a class and something else together that
            of the class, less what the other costs the images of other classes.
        stands_out: whether it is lower than expected by more than chance does to one of all the slices that are
            compared, in 19 of 20 cases.
    """

    conditions: Mapping[str, str]
    images: int
    value: float
    interval: Interval
    expected: float
    stands_out: bool

    def __str__(self) -> str:
        """`class cat, brightness 3.1 to 40.2: 23.4% (14.1 to 36.2) of 52 images, 71.0% expected`."""
        named = ", ".join(f"{name} {value}" for name, value in self.conditions.items())
        low, high = (100 * end for end in self.interval)
        share = f"{self.value:.1%} ({low:.1f} to {high:.1f}) of {counted(self.images, 'image')}"
        return f"{for_terminal(named)}: {share}, {self.expected:.1%} expected"


@dataclass(frozen=True)
class Slices:
    """The slices of some images.

    Attributes:
        figure: the name of the figure that is compared, a mean over images.
        value: of all images.
        edges: the ends of the bins of what is measured, by name, the lowest first.
        slices: those of enough images; the ones that are the most surely bad first.
    """

    figure: str
    value: float
    edges: Mapping[str, tuple[float, ...]]
    slices: tuple[Slice, ...]

    @property
    def worst(self) -> tuple[Slice, ...]:
        """Those that stand out."""
        return tuple(it for it in self.slices if it.stands_out)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """The worst slices in words; nothing where there are no slices."""
        if not self.slices:
            return
        what = f"{metric_name(self.figure)} of all images is {self.value:.1%}"
        if not self.worst:
            yield f"No part of the images stands out: {what}; {len(self.slices)} were compared."
            return
        yield f"Worse than chance explains ({what}; {len(self.slices)} parts were compared):"
        yield from (f"  {it}" for it in self.worst[:_SHOWN])
        if (more := len(self.worst) - _SHOWN) > 0:
            yield f"  and {more} more, in the numbers as JSON"
