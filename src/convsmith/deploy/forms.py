"""A model in several forms side by side: size, speed, and what they get right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from convsmith.deploy.certainty import is_chance
from convsmith.deploy.speed import Speed
from convsmith.spec import Size
from convsmith.tables import add_figures, add_names, new_table
from convsmith.words import metric_name

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Form:
    """The model in one of its forms.

    Attributes:
        bytes: size of the ONNX file.
        latency_ms, images_per_second: see `Speed`; None where speed was not measured.
        metrics: on the validation images, fractions.
        ece: the calibration error of its probabilities there; None where it was not measured.
    """

    bytes: int
    latency_ms: float | None
    images_per_second: float | None
    metrics: dict[str, float]
    ece: float | None = None


def form_of(content: bytes, speed: Speed | None, metrics: dict[str, float], ece: float | None = None) -> Form:
    """Figures of an ONNX file."""
    latency_ms, images_per_second = (speed.latency_ms, speed.images_per_second) if speed else (None, None)
    return Form(len(content), latency_ms, images_per_second, metrics, ece)


class Measurement(Protocol):
    """The conditions that forms were measured in."""

    @property
    def metric(self) -> str:
        """Name of the metric."""

    @property
    def chance(self) -> float:
        """The metric of chance alone."""

    @property
    def images(self) -> int:
        """How many judged it."""

    @property
    def threads(self) -> int | None:
        """Threads of the runtime, for the speed; None, as the next two, where that was not measured."""

    @property
    def batch(self) -> int | None:
        """Images at a time, for the throughput."""

    @property
    def size(self) -> Size | None:
        """Height and width of the images."""


def records_of(forms: Mapping[str, Form]) -> list[dict[str, Any]]:
    """A row for each form: its name, bytes, speed, where that was measured, and metrics."""
    return [
        {
            "model": name,
            "bytes": form.bytes,
            **(
                {}
                if form.latency_ms is None
                else {"latency_ms": form.latency_ms, "images_per_second": form.images_per_second}
            ),
            **form.metrics,
            **({} if form.ece is None else {"ece": form.ece}),
        }
        for name, form in forms.items()
    ]


def parts_of(forms: Mapping[str, Form], by: Measurement) -> Iterator[str | Table]:
    """A table of the forms; a line that says how that was measured; and a note on each that has learned nothing."""
    metric = metric_name(by.metric)
    table = new_table()
    add_names(table, "model")
    has_errors = all(form.ece is not None for form in forms.values())
    speeds = ("ms", "images/s") if by.size else ()
    add_figures(table, "MB", *speeds, metric, *([metric_name("ece")] if has_errors else []))
    for name, form in forms.items():
        cells = [f"{form.bytes / 1e6:.2f}"]
        if by.size:
            cells += [f"{form.latency_ms:.2f}", f"{form.images_per_second:.1f}"]
        table.add_row(name, *cells, f"{form.metrics[by.metric]:.2%}", *([f"{form.ece:.4f}"] if has_errors else []))
    yield table
    how = ""
    if by.size:
        height, width = by.size
        how = (
            f"onnxruntime, {by.threads} threads, images of {height}x{width}; latency of one image, throughput of "
            f"batches of {by.batch}; "
        )
    yield f"{how}{metric} of {by.images} validation images"
    for name, form in forms.items():
        if is_chance(form.metrics[by.metric], by.chance, by.images):
            yield (
                f"note: {name} is no better than chance: always naming the most frequent class has "
                f"{by.chance:.2%}; it has learned nothing that these images show"
            )
