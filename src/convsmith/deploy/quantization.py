"""The result of bringing a bundle to INT8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from convsmith.bundle.figures.certainty_intervals import Interval
from convsmith.deploy.forms import Form, parts_of, records_of
from convsmith.deploy.static_int8 import FloatLayer
from convsmith.deploy.trial import Verdict
from convsmith.processor import Target
from convsmith.tables import Tabular
from convsmith.words import for_terminal, points_between, points_lost

if TYPE_CHECKING:
    from rich.table import Table

Method = Literal["static", "dynamic", "qat"]


@dataclass(frozen=True, repr=False)
class Quantization(Tabular):
    """The result of bringing a bundle to INT8.

    Attributes:
        method: `static`, `dynamic`, or `qat`, quantization-aware training.
        metric: name of the metric that `drop` is of.
        drop: points that INT8 loses on the validation images; negative where it gains.
        interval: see `drop_interval`; None of fewer than two images.
        chance: see `score_of_chance`.
        images: of the validation data, that both forms were judged by.
        threads, batch, size: what speed was measured with; height and width of the images. None: it was not measured.
        float_model: the model as it was.
        int8_model: the model as it is.
        parity: how far the logits of both are from each other, and `embeddings`, where there are any.
        layers: how many layers have weights.
        target: the processors that the INT8 model is for; None of a training by an older convsmith: `vnni` and `arm`.
        any_x86: what the form for any x86 lost on the held-out images, where it lost too much.
        float_layers: those that do not compute on integers, and why.
        note: what the method does not cover; None where there is nothing to say.
        seed: chose images to calibrate with, or is the training's; None where there are neither.
        rule: how ranges were chosen; None where none were.
        max_drop: what was allowed on the images held out of calibration.
        calibration_images, held_out_images: what ranges were measured on, and what rule and layers were chosen by.
        tried: what each rule lost on the first of the held-out images, with all layers in INT8.
        held_out: what the result loses on all of them.
        run: directory of the training.
    """

    method: Method
    metric: str
    drop: float
    interval: Interval | None
    chance: float
    images: int
    threads: int | None
    batch: int | None
    size: tuple[int, int] | None
    float_model: Form
    int8_model: Form
    parity: dict[str, Any]
    layers: int
    target: Target | None
    any_x86: Verdict | None = None
    float_layers: tuple[FloatLayer, ...] = ()
    note: str | None = None
    seed: int | None = None
    rule: str | None = None
    max_drop: float | None = None
    calibration_images: int = 0
    held_out_images: int = 0
    tried: dict[str, Verdict] = field(default_factory=dict)
    held_out: Verdict | None = None
    run: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @property
    def forms(self) -> dict[str, Form]:
        """Both models by name."""
        return {"float": self.float_model, "INT8": self.int8_model}

    @property
    def faster(self) -> float | None:
        """How many times as fast INT8 answers one image; None where speed was not measured."""
        before, after = self.float_model.latency_ms, self.int8_model.latency_ms
        return None if before is None or after is None else before / after

    def records(self) -> list[dict[str, Any]]:
        """A row for each of both models."""
        return records_of(self.forms)

    def parts(self) -> Iterator[str | Table]:
        """Gains and losses, and how they came about."""
        yield from parts_of(self.forms, self)
        smaller = self.int8_model.bytes / self.float_model.bytes
        faster = "" if self.faster is None else f" {self.faster:.1f} times as fast,"
        yield (
            f"INT8: {smaller:.1%} of the size,{faster} {points_lost(self.drop)}"
            f"{points_between(self.interval)}, {self.parity['top1_agreement']:.2%} of the answers the same"
        )
        if self.held_out:
            yield (
                f"ranges by {self.rule} of {self.calibration_images} training images; chosen by "
                f"{self.held_out_images} others, with {points_lost(self.held_out.drop)} there"
            )
        if self.any_x86:
            yield (
                f"for {self.target} only: the form for any x86, whose weights have 7 bits, has "
                f"{points_lost(self.any_x86.drop)} on the held-out images; without VNNI this one's sums may be cut off"
            )
        for layer in self.float_layers:
            yield f"float: {for_terminal(layer.name)}, {layer.why}"
        if self.note:
            yield self.note
        if self.max_drop is not None and self.drop > self.max_drop:
            yield (
                f"note: the validation images lose more than the {self.max_drop:g} points that the held-out training "
                "images were allowed; more --images know it better, a lower --max-drop keeps more layers in float"
            )
        if self.run:
            yield f"run:    {self.run}"
