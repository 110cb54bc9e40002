"""Figures of how much a bundle gets right on labelled images, whatever its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convsmith.bundle.figures.slices import Slices
from convsmith.errors import counted
from convsmith.tables import Tabular, add_figures, add_names, fits, new_table
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from rich.table import Table

    from convsmith.bundle.task import Table as ClassTable

_MOST_COLUMNS = 20  # of the confusion


def between(interval: tuple[float, float] | None) -> str:
    """An interval of a fraction in words, to stand behind it; nothing where it is not known."""
    return "" if interval is None else f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


@dataclass(frozen=True, repr=False)
class Evaluation(Tabular):
    """Figures of how much a bundle gets right.

    Attributes:
        images: number of images that were judged.
        held_out: whether they are those for validation, or for test, of the data that the bundle was trained on.
        is_part: whether they are a part of the data for validation or test, and not all that has labels.
        figures: over all images, by name; None where one was not asked for. A classifier has `top1` and `top5` (the
            fraction of images whose label is the highest, or among the five highest), `balanced_accuracy` (the mean of
            `per_class`, classes without images left out) and `loss` (mean cross-entropy); segmentation has `miou` and
            `mean_accuracy` (the means of `iou` and `accuracy`, classes that never occur counted as 0, as HRNet's code
            does), `pixel_accuracy`, and `boundary_iou` (the mean over the classes).
        labels: class names, in the bundle's order.
        classes: figures of each class `[K]`, by name. A classifier has `per_class`, the fraction right, None for a
            class without images; segmentation has `iou`, `accuracy` (the fraction of the class's pixels that are
            right) and `pixels` (how many it truly has; where it is 0, its other figures mean nothing).
        confusion: counts `[K][K]` of images or pixels, rows true and columns predicted.
        unreadable: one line for each image that was left out.
        meta: what ran: `runtime`, `device` and `provider`.
        task: what was asked.
        intervals: where figures lie with 95 % certainty on other images of the kind, by name, as far as that is known.
        slices: parts of the images, by class, folder, look or a column, with the figure of each; None: not compared.

    Examples:
        >>> judged = cs.evaluate("runs/photos", "photos/")
        >>> judged.top1, judged.classes["per_class"]
        (1.0, (1.0, 1.0, 1.0))
    """

    images: int
    held_out: bool
    is_part: bool
    figures: Mapping[str, float | None]
    labels: tuple[str, ...]
    classes: Mapping[str, tuple[int | float | None, ...]]  # counts stay integers where this is read back
    confusion: tuple[tuple[int, ...], ...]
    unreadable: tuple[str, ...]
    meta: Mapping[str, str] = field(default_factory=dict)
    task: str = "classification"
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    slices: Slices | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; figures by their names, and those of each class in `classes`.

        Figures of each class stand beside the others too, but for those whose name a figure over all images has.
        """
        return {
            "images": self.images,
            "held_out": self.held_out,
            "is_part": self.is_part,
            **self.classes,
            **self.figures,
            "intervals": self.intervals,
            "labels": self.labels,
            "classes": self.classes,
            "confusion": self.confusion,
            "unreadable": self.unreadable,
            "meta": self.meta,
            "slices": None if self.slices is None else self.slices.to_dict(),
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each class."""
        columns = {"class": self.labels, **self.classes}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def parts(self) -> Iterator[str | Table]:
        """The figures over all images, and a table of the classes with as much of the confusion as fits."""
        from convsmith.bundle.task import find_task

        said = find_task(self.task).tabulate(self)
        yield "  ".join([counted(self.images, "held-out image" if self.held_out else "image"), *said.headline])
        classes = len(self.labels) if said.confusion else 0
        shown = classes if classes <= _MOST_COLUMNS else 0
        while shown and not fits(self._class_table(said, shown)):
            shown -= 1
        yield self._class_table(said, shown)
        if shown:
            yield "Columns are what the bundle says; --json has all figures."
        if shown < classes:
            yield f"What the bundle says has {classes - shown} more columns than fit here; --json has them all."
        yield from said.remarks
        yield from self.worse()

    def worse(self) -> Iterator[str]:
        """The parts of the images that are worse than others, in words; nothing where they were not compared."""
        if self.slices is not None:
            yield from self.slices.lines()

    def _class_table(self, said: ClassTable, shown: int) -> Table:
        """A line for each class, with the first columns of the confusion."""
        from rich.markup import escape

        labels = [escape(for_terminal(label)) for label in self.labels]
        table = new_table()
        add_names(table, "class")
        add_figures(table, *said.columns)
        add_names(table, *labels[:shown])
        cells = zip(*said.columns.values(), strict=True)
        for label, row, figures in zip(labels, self.confusion, cells, strict=True):
            table.add_row(label, *figures, *(str(count) if count else "" for count in row[:shown]))
        return table

    def __getattr__(self, name: str) -> Any:
        """A figure of `figures` or `classes` by its name, such as `top1` or `iou`."""
        for place in ("figures", "classes"):
            if name in (found := self.__dict__.get(place, {})):
                return found[name]
        raise AttributeError(f"an Evaluation has no attribute {name!r}")
