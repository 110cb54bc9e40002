"""A ladder: a table of its steps, their levels with intervals, and their curves over each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convsmith.analyze.house_page import plain_table, text
from convsmith.analyze.report.facts import Facts, StepFacts
from convsmith.analyze.report.figures import between, draw_all
from convsmith.analyze.report.gather import environment
from convsmith.bundle.figures.certainty_intervals import student
from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.bundle.format import holds_run
from convsmith.errors import ConvsmithError
from convsmith.recipe.better import LOSS
from convsmith.recipe.yaml_text import write_yaml
from convsmith.training.run import Run
from convsmith.waiting import read_file
from convsmith.words import figure_text, metric_name

RESULTS = "ablation.json"


def facts_of_ladder(folder: Path) -> Facts:
    """The facts of the directory that `ablate` wrote.

    Raises:
        ConvsmithError: its results, or one of its runs, cannot be read.
    """
    try:
        found = json.loads(read_file(folder / RESULTS))
        metric, rows = str(found["metric"]), found["rows"]
        steps = tuple(_step(folder / str(row["step"]), row, metric) for row in rows)
        title, description = f"The ladder {found['ladder']}", str(found["description"])
        shared = " ".join(map(str, found["overrides"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConvsmithError(
            f"{folder / RESULTS} cannot be read", str(error), "Run `convsmith ablate` again."
        ) from error
    first = next((run for step in steps for run in step_runs(folder / step.name)), None)
    return Facts(
        title=title,
        kind="ladder",
        place=str(folder),
        task=first.recipe.task if first else "",
        metric=metric,
        description=f"{description}{f' (all steps with {shared})' if shared else ''}",
        environment=environment(),
        steps=steps,
        missing=(f"Figures with intervals need the images: convsmith report {folder} --data DATA",),
    )


def step_runs(folder: Path) -> Iterator[Run]:
    """The runs of a step: one, or one of each fold."""
    for path in (folder, *sorted(folder.glob("fold-*"), key=lambda it: (len(it.name), it.name))):
        if holds_run(path):
            yield Run(path)


def ladder_part(facts: Facts) -> dict[str, str]:
    """The sections of a ladder."""
    return {"Steps": _table(facts) + draw_all([_levels(facts)], "levels"), "Curves": draw_all(_curves(facts), "curves")}


def _step(folder: Path, row: Mapping[str, Any], metric: str) -> StepFacts:
    changes = tuple(f"{key}={write_yaml(value)}" for key, value in row["changes"].items())
    curves = []
    for run in step_runs(folder):
        known = [(it["epoch"], it[metric]) for it in run.metrics if it["split"] == "val" and metric in it]
        curves.append((tuple(float(epoch) for epoch, _ in known), tuple(float(value) for _, value in known)))
    return StepFacts(str(row["step"]), changes, row["measured"], row["error"], tuple(curves))


def _interval(metric: str, step: StepFacts) -> tuple[float, float] | None:
    """Where the step's level lies with 95 % certainty: by its folds, or by the images that judged its bundle."""
    if step.figures and metric in (found := step.evaluation.intervals if step.evaluation else {}):
        return found[metric]
    error = (step.figures or {}).get("errors", {}).get("last")
    if step.figures is None or error is None:
        return None
    half, last = student(max(len(step.curves), 2)) * error, step.figures["last"]
    return max(0.0, last - half), last + half if metric == LOSS else min(1.0, last + half)


def _table(facts: Facts) -> str:
    metric = facts.metric

    def row(step: StepFacts) -> tuple[str, ...]:
        changes = ", ".join(step.changes)
        if step.figures is None:
            return step.name, changes, "failed" if step.error else "not finished", step.error or "", "", "", "", ""
        it = step.figures
        judged = figure_text(metric, _level(metric, step.evaluation))
        gains = ("" if it[name] is None else _gain(metric, it[name]) for name in ("gain", "total_gain"))
        return (
            step.name, changes, figure_text(metric, it["last"]), between(metric, _interval(metric, step)), *gains,
            judged or figure_text(metric, it["best"]), f"{it['minutes']:.1f}",
        )  # fmt: skip

    head = (
        "step", "changes", metric_name(metric), "95 % interval", "points to the step before", "to the first",
        "its bundle" if any(it.evaluation for it in facts.steps) else "best epoch", "minutes",
    )  # fmt: skip
    one = all(not (it.figures or {}).get("errors") for it in facts.steps)
    told = "One run of each step: a gain of a few tenths may be chance." if one else "Means over the folds."
    return f"<p>{text(told)}</p>\n" + plain_table("Steps of the ladder", head, map(row, facts.steps), names=2)


def _level(metric: str, evaluation: Evaluation | None) -> float | None:
    return None if evaluation is None else evaluation.figures.get(metric)


def _gain(metric: str, value: float) -> str:
    return f"{value:+.4f}" if metric == LOSS else f"{100 * value:+.2f}"


def _levels(facts: Facts) -> Chart:
    known = [(i, step) for i, step in enumerate(facts.steps, 1) if step.figures]
    line = tuple(float(i) for i, _ in known), tuple(float(step.figures["last"]) for _, step in known if step.figures)
    ends = [(i, interval) for i, step in known if (interval := _interval(facts.metric, step))]
    around = {
        name: (tuple(float(i) for i, _ in ends), tuple(it[place] for _, it in ends))
        for place, name in enumerate(("95 % interval from", "to"))
    }
    lines = {metric_name(facts.metric): line, **(around if ends else {})}
    return Chart("Level of each step", "step, as in the table", metric_name(facts.metric), lines if known else {})


def _curves(facts: Facts) -> list[Chart]:
    lines = {
        step.name + (f" {number}" if len(step.curves) > 1 else ""): curve
        for step in facts.steps
        for number, curve in enumerate(step.curves)
        if curve[0]
    }
    if not lines:
        return []
    return [Chart(f"{metric_name(facts.metric)} of the validation images", "epoch", metric_name(facts.metric), lines)]
