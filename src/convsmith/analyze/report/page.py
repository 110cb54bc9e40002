"""The page of a report: one file that opens offline, in light and dark, on a phone, in a screen reader and in print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convsmith.analyze.house_page import frame, listed, text
from convsmith.analyze.report.confusion import confused
from convsmith.analyze.report.curves import training_charts
from convsmith.analyze.report.facts import Facts
from convsmith.analyze.report.figures import (
    between,
    cards,
    class_table,
    draw_all,
    figures_of_validation,
    final_figures,
)
from convsmith.analyze.report.gallery import gallery
from convsmith.analyze.report.ladder import ladder_part
from convsmith.analyze.report.model_parts import (
    calibration_part,
    commands_part,
    environment_part,
    int8_part,
    pairs,
    proof_part,
    seconds_part,
    settings_part,
    speed_part,
)
from convsmith.bundle.task import Task, find_task
from convsmith.recipe.better import LOSS
from convsmith.words import figure_text, metric_name

_HERE = Path(__file__).parent


def page(facts: Facts) -> str:
    """The page, as HTML; names in the facts may be any text."""
    if facts.steps:
        return write_frame(facts.title, {**ladder_part(facts), **_how(facts)}, _above(facts))
    task, judged, seen = find_task(facts.task), facts.judged, facts.judged or facts.sample
    recommended = [facts.verdict, facts.recommended] if facts.recommended else []
    parts = {
        "Recommended": listed(filter(None, recommended)),
        "What was trained": pairs("What was trained", facts.about),
        "Why this recipe": listed([*facts.reasons, " ".join(["recipe", facts.recipe or "", *facts.overrides])])
        if facts.reasons
        else "",
        "Curves": draw_all(training_charts(facts.metrics, facts.plan, _drawn(facts, task)), "curve"),
        "Final figures": final_figures(judged.evaluation) if judged else _of_validation(facts, task),
        "How far it can be trusted": draw_all(seen.charts, "trust") if seen else "",
        "Where it is worse": listed(map(str.strip, seen.evaluation.worse())) if seen else "",
        **_by_class(facts, task),
        "Worst errors": _worst(facts),
        "Calibration": calibration_part(facts.model, facts.labels),
        "Float against INT8": int8_part(facts.int8),
        "Proof of the export": proof_part(facts.model),
        "Speed on this machine": speed_part(facts.benchmark),
        "Time that it took": seconds_part(facts.seconds),
        "The recipe in full": settings_part(facts.settings),
        **_how(facts),
    }
    return write_frame(facts.title, parts, _above(facts))


def _drawn(facts: Facts, task: Task) -> list[str]:
    """The figures of a validation that have curves: the task's metrics, and what the recipe asks for besides."""
    return [*task.metrics, *(name for name in facts.settings.get("metrics") or () if name != LOSS)]


def _of_validation(facts: Facts, task: Task) -> str:
    """The figures of the training's own validation, with intervals where the number of its images is known.

    Below them are all figures of a part of the images, where that was judged.
    """
    single = task.exclusive and task.one_size  # the confusion counts each image once
    images = sum(map(sum, facts.validation["confusion"])) if facts.validation and single else None
    own = figures_of_validation(facts.model.get("metrics") or {}, images)
    if not facts.sample:
        return own
    return f"{own}<h3>More figures, of a part of the images</h3>\n{final_figures(facts.sample.evaluation)}"


def _worst(facts: Facts) -> str:
    """The worst of all images that were judged, or of a part of them at the end of a training."""
    if facts.judged:
        return gallery(facts.judged, "that were judged")
    return gallery(facts.sample, "for validation, taken evenly of all") if facts.sample else ""


def write_frame(title: str, parts: Mapping[str, str], above: str = "") -> str:
    """A page of the house with the styles and the script of reports; see `frame`."""
    return frame(title, parts, above=above, style=_text("page.css"), script=_text("page.js"))


def _above(facts: Facts) -> str:
    """A line on what it is, and the largest figures."""
    missing = "".join(f'<p class="quiet">{text(line)}</p>\n' for line in facts.missing)
    told = f"<p>{text(facts.description)}</p>\n" if facts.description else ""
    return told + _cards(facts) + missing


def _cards(facts: Facts) -> str:
    found: dict[str, tuple[str, str]] = {}
    measured = facts.model.get("metrics") or {}
    if facts.judged:
        evaluation = facts.judged.evaluation
        told = between(facts.metric, evaluation.intervals.get(facts.metric))
        value = figure_text(facts.metric, evaluation.figures.get(facts.metric))
        found[metric_name(facts.metric)] = (value, f"95 %: {told}" if told else "")
        found["images judged"] = (f"{evaluation.images:,}", "held out" if evaluation.held_out else "")
    elif facts.metric in measured:
        found[metric_name(facts.metric)] = figure_text(facts.metric, measured[facts.metric]), "validation images"
    if facts.model:
        found["parameters"] = (_short(facts.model.get("params") or 0), f"{facts.model['bytes'] / 1e6:.2f} MB")
    if facts.labels:
        found["classes"] = f"{len(facts.labels):,}", ""
    if facts.about.get("epochs"):
        seconds = facts.seconds.get("train", 0.0)
        found["epochs"] = facts.about["epochs"], f"{seconds / 60:,.1f} minutes" if seconds else ""
    return cards(found) if found else ""


def _short(count: int) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)


def _by_class(facts: Facts, task: Task) -> dict[str, str]:
    """The confusion and the table of the classes, by labelled images or else by the training's own validation."""
    if facts.judged:
        evaluation = facts.judged.evaluation
        classes, confusion = evaluation.classes, evaluation.confusion
    elif facts.validation:
        classes, confusion = facts.validation["classes"], facts.validation["confusion"]
    else:
        return {}
    exclusive = confusion if task.exclusive else None
    return {
        "Confusion": confused(exclusive, facts.labels, task.counted) if exclusive else "",
        "Classes": class_table(facts.labels, classes, exclusive) if classes else "",
    }


def _how(facts: Facts) -> dict[str, str]:
    return {
        "Make it again": commands_part(facts.commands),
        "Environment": environment_part(facts.environment, facts.model),
    }


def _text(name: str) -> str:
    """A file beside this one."""
    return (_HERE / name).read_text(encoding="utf-8")
