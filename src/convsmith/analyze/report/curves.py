"""The course of a training: what metrics.jsonl and plan.json hold, as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convsmith.bundle.figures.chart import Chart, Line
from convsmith.recipe.better import LOSS
from convsmith.words import metric_name


def training_charts(metrics: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], names: Sequence[str]) -> list[Chart]:
    """Loss, metrics, learning rate, gradient norm and speed over the epochs, as far as they were recorded.

    Args:
        metrics: the records at the ends of epochs.
        plan: of the run.
        names: of the figures of a validation that are drawn, beside the loss.
    """
    learned, judged = ([line for line in metrics if line["split"] == split] for split in ("train", "val"))
    losses = {"training": _line(learned, LOSS), "validation": _line(judged, LOSS)}
    both = all(line[0] for line in losses.values())
    note = "The training loss is of augmented images, while the weights change." if both else ""
    keys = dict.fromkeys(key for line in judged for key in line)
    shown = [key for key in keys if key in names or key.partition("_")[2] in names]
    charts = [
        Chart("Loss", "epoch", "loss", _known(losses), note=note),
        Chart("Metrics", "epoch", "validation images", _known({metric_name(it): _line(judged, it) for it in shown})),
        Chart("Learning rate", "epoch", "rate of a step", _known({"rate": _rates(plan)})),
        Chart("Gradient norm", "epoch", "mean of its steps", _known({"norm": _line(learned, "grad_norm")})),
        Chart("Speed", "epoch", "training images a second", _known({"images/s": _line(learned, "images_per_second")})),
    ]
    return [chart for chart in charts if any(len(across) > 1 for across, _ in chart.lines.values())]


def _line(records: Sequence[Mapping[str, Any]], name: str) -> Line:
    known = [(float(it["epoch"]), float(it[name])) for it in records if it.get(name) is not None]
    return tuple(epoch for epoch, _ in known), tuple(value for _, value in known)


def _known(lines: Mapping[str, Line]) -> dict[str, Line]:
    return {name: line for name, line in lines.items() if line[0]}


def _rates(plan: Mapping[str, Any]) -> Line:
    rates, steps = plan.get("lr") or (), plan.get("steps_per_epoch") or 1
    return tuple(step / steps for step in range(len(rates))), tuple(map(float, rates))
