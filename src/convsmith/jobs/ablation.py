"""Ladders: one run for each step, then a table and a plot."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from math import sqrt
from pathlib import Path
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any

from convsmith.analyze.plots import write_plot
from convsmith.analyze.report.at_end import ReportAtEnd
from convsmith.bundle.format import holds_run
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.machine import runs_folder
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.better import LOSS, gain
from convsmith.recipe.ladder import Ladder, load_ladder
from convsmith.recipe.yaml_text import write_yaml
from convsmith.storage import write_file
from convsmith.tables import Tabular
from convsmith.training.prepare import prepare_training
from convsmith.training.run import Run
from convsmith.training.train import TrainingInterrupted, train
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """Figures of the run of one step; where it has one for each fold, their means.

    Attributes:
        epochs: epochs done.
        last: the metric after the last epoch.
        best: the metric after the best epoch, whose weights the bundle holds.
        gain: how much better `last` is than that of the step before, None at the first step.
        total_gain: how much better `last` is than that of the first step, None at the first step.
        images_per_second: of training, the median of the epochs.
        minutes: spent on training steps, of all folds together.
        errors: of folds, the standard error of each of `last`, `best`, `gain` and `total_gain` by its name; else empty.
    """

    epochs: int
    last: float
    best: float
    gain: float | None
    total_gain: float | None
    images_per_second: float
    minutes: float
    errors: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RungResult:
    """A step by name, what it changes (see `Rung`), and its figures; None while its run is not finished.

    Attributes:
        error: why the run failed; None where it did not.
    """

    step: str
    changes: dict[str, Any]
    measured: Measured | None
    error: str | None = None


@dataclass(frozen=True, repr=False)
class Ablation(Tabular):
    """The results of a ladder so far.

    Attributes:
        ladder: its name.
        description: its own line.
        overrides: the changes that all steps share.
        metric: what is compared, as the runs' metrics.jsonl call it; figures are fractions, but for the loss.
        rows: one for each step, in order.
    """

    ladder: str
    description: str
    overrides: tuple[str, ...]
    metric: str
    rows: tuple[RungResult, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the steps whose runs ended in an error."""
        return tuple(row.step for row in self.rows if row.error is not None)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """A row for each step: its name and changes, its figures where it has finished, and why it failed."""
        rows = (asdict(row) for row in self.rows)
        return [
            {"step": row["step"], "changes": row["changes"], **(row["measured"] or {}), "error": row["error"]}
            for row in rows
        ]

    def parts(self) -> Iterator[str]:
        """The lines of `to_markdown`."""
        yield from map(for_terminal, self.to_markdown().splitlines())

    def to_markdown(self) -> str:
        """A table, with what its figures are."""
        shared = f" All steps with `{' '.join(self.overrides)}`." if self.overrides else ""
        scale = _scale(self.metric)
        header = ["step", "changes", f"{self.metric}{' %' * (scale == 100)}", "to the step before", "to the first"]
        lines = [
            f"# {self.ladder}: {self.description}",
            "",
            f"The {self.metric} on all validation images after the last epoch, and of the best epoch; gains are of the "
            f"last{', in points' * (scale == 100)}. {self._runs()}{shared}",
            "",
            f"| {' | '.join([*header, 'best epoch', 'images/s', 'minutes'])} |",
            "|---|---|--:|--:|--:|--:|--:|--:|",
            *(f"| {' | '.join(_cells(row, scale))} |" for row in self.rows),
        ]
        finished = sum(row.measured is not None for row in self.rows)
        if finished < len(self.rows):
            lines += ["", f"{finished} of {len(self.rows)} steps finished; the same command goes on."]
        return "\n".join(lines) + "\n"

    def _runs(self) -> str:
        if any(row.measured and row.measured.errors for row in self.rows):
            return "Means over the folds, with one standard error; that of a gain is of the gains fold by fold."
        return "One run of each step."


def ablate(
    ladder: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    progress: ProgressCallback = notebook_progress,
) -> Ablation:
    """Train each step of a ladder into `out/STEP`, and write `ablation.md`, `.json` and `.png` there after each.

    Where the recipes say `data.folds` but no `data.fold`, each step is trained with every fold, into `out/STEP/fold-N`.

    Runs that are finished are not trained again, one that was stopped goes on. A step whose training fails is noted,
    and the next one comes; the same call tries it again.

    Args:
        ladder: see `load_ladder`; or a recipe, as the only step.
        data: folder of images, see `open_image_folder`.
        out: holds the runs and the results; None: `runs/LADDER-ladder`.
        overrides: changes to the recipe of every step.
        progress: called with the name of each step before it is trained, how many are done, and of how many.

    Raises:
        ConvsmithError: something in the ladder, the data or the directory must be put right.
        TrainingInterrupted: SIGINT, SIGTERM or SIGUSR1 came; the same call goes on.

    Examples:
        >>> changes = ["model.num_classes=null", "schedule.epochs=1", "data.folds=2"]
        >>> ladder = cs.ablate("digits", "photos/train", "runs/folds", changes)
        >>> len(ladder.rows)
        1
    """
    loaded = load_ladder(ladder, overrides)
    out = ladder_folder(ladder) if out is None else Path(out)
    metric = _metric(loaded)
    _check_runs(loaded, Path(data), out)
    rows = [RungResult(step.name, step.changes, None) for step in loaded.steps]
    at_end = ReportAtEnd(Path(data))
    earlier: list[list[float]] = []  # the metric of each run of each step that has finished
    for number, step in enumerate(loaded.steps):
        progress(step.name, number, len(rows))
        try:
            runs = [train(recipe, data, folder, observers=[at_end]) for folder, recipe in step.runs(out)]
            rows[number] = RungResult(step.name, step.changes, _measure(runs, metric, earlier))
            earlier.append([_levels(run, metric)[-1] for run in runs])
        except TrainingInterrupted:
            raise
        except Exception as error:  # whatever it is, the other steps can do without this one
            known = isinstance(error, ConvsmithError)
            logger.warning("the step `%s` failed: %s", step.name, error, exc_info=None if known else error)
            rows[number] = RungResult(step.name, step.changes, None, str(error) if known else repr(error))
        out.mkdir(parents=True, exist_ok=True)
        result = Ablation(loaded.name, loaded.description, tuple(overrides), metric, tuple(rows))
        write_file(out / "ablation.json", json.dumps(result.to_dict(), indent=2) + "\n")
        write_file(out / "ablation.md", result.to_markdown())
        write_plot(out / "ablation.png", partial(_draw, result))
    return result


def ladder_folder(ladder: str | Path) -> Path:
    """Where a ladder goes that names no folder: `runs/LADDER-ladder`, below the folder of runs."""
    return runs_folder() / f"{Path(ladder).stem}-ladder"


def _metric(ladder: Ladder) -> str:
    """The metric that judges all steps.

    Raises:
        ConvsmithError: they are not all trained and judged, or not all judged by the same metric in the same folds.
    """
    first = ladder.steps[0]
    metric = first.recipe.metric
    for step in ladder.steps:
        problem = f"the step `{step.name}` cannot be compared"
        if not step.recipe.eval:
            raise ConvsmithError(problem, "its `eval` is false", "Add eval=true, or leave it out.")
        if not step.recipe.schedule.epochs:
            raise ConvsmithError(problem, "its schedule.epochs is 0", "Set schedule.epochs.")
        if len(step.runs(Path())) != len(ladder.steps[0].runs(Path())):
            raise ConvsmithError(problem, "it has other data.folds than the first step", "Say them for all steps.")
        if (own := step.recipe.metric) != metric:
            raise ConvsmithError(problem, f"it is judged by {own}, `{first.name}` by {metric}", f"Add metric={metric}.")
    return metric


def _check_runs(ladder: Ladder, data: Path, out: Path) -> None:
    """Raise a ConvsmithError for what all steps would fail of: the data, or runs of other recipes in the folder."""
    data_of_recipe(ladder.steps[0].runs(out)[0][1], data)
    for folder, recipe in chain.from_iterable(step.runs(out) for step in ladder.steps):
        if holds_run(folder):
            run = Run(folder)
            resolved, _, plan = prepare_training(recipe, data, begun=run.recipe)
            run.check_same(resolved, plan)


def _scale(metric: str) -> int:
    """The factor of a figure where it is shown: a fraction becomes percent."""
    return 1 if metric == LOSS else 100


def _measure(runs: Sequence[Run], metric: str, earlier: Sequence[Sequence[float]]) -> Measured:
    """The figures of the finished runs of a step.

    Args:
        runs: one, or one of each fold.
        metric: what is compared.
        earlier: the last level of each run of each finished step before.
    """
    levels = [_levels(run, metric) for run in runs]
    found = {
        "last": [of_run[-1] for of_run in levels],
        "best": [min(of_run) if metric == LOSS else max(of_run) for of_run in levels],
    }
    for name, before in (("gain", earlier[-1:]), ("total_gain", earlier[:1])):
        for of_step in before:
            found[name] = [gain(metric, *pair) for pair in zip(found["last"], of_step, strict=True)]
    means = {name: fmean(values) for name, values in found.items()}
    epochs = [line for run in runs for line in run.metrics if line["split"] == "train"]
    return Measured(
        epochs=len(epochs) // len(runs),
        last=means["last"],
        best=means["best"],
        gain=means.get("gain"),
        total_gain=means.get("total_gain"),
        images_per_second=median(line["images_per_second"] for line in epochs),
        minutes=sum(line["seconds"] for line in epochs) / 60,
        errors={name: stdev(values) / sqrt(len(values)) for name, values in found.items() if len(values) > 1},
    )


def _levels(run: Run, metric: str) -> list[float]:
    """The metric after each validation."""
    return [line[metric] for line in run.metrics if line["split"] == "val"]


def _cells(row: RungResult, scale: int) -> list[str]:
    changes = ", ".join(f"`{key}={write_yaml(value)}`" for key, value in row.changes.items())
    named, it = [text.replace("|", "\\|") for text in (row.step, changes)], row.measured
    if it is None:
        failure = (row.error or "").partition("\n")[0].replace("|", "\\|")
        return [*named, f"failed: {failure}" if row.error is not None else "unfinished", "", "", "", "", ""]
    digits = 2 if scale == 100 else 4
    shown = []
    for name, sign in (("last", ""), ("gain", "+"), ("total_gain", "+"), ("best", "")):
        value, error = getattr(it, name), it.errors.get(name)
        text = "" if value is None else f"{scale * value:{sign}.{digits}f}"
        shown.append(text if error is None else f"{text} ± {scale * error:.{digits}f}")
    return [*named, *shown, f"{it.images_per_second:,.0f}", f"{it.minutes:.1f}"]


def _draw(ablation: Ablation, axes: Axes) -> None:
    """A row for each step, the first on top: a dot at its level, and a bar from the level of the step before."""
    rows = ablation.rows
    figure = axes.get_figure(root=True)
    assert figure is not None  # the axes are in one
    figure.set_size_inches(11, 1.5 + 0.4 * len(rows))
    names = [row.step if row.measured else f"{row.step} ({'failed' if row.error else 'unfinished'})" for row in rows]
    scale, sign = _scale(ablation.metric), -1 if ablation.metric == LOSS else 1
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for place, it in enumerate(row.measured for row in rows):
        if it is None:
            continue
        level, rise = scale * it.last, sign * scale * (it.gain or 0)
        axes.barh(place, rise, left=level - rise, color="tab:green" if (it.gain or 0) > 0 else "tab:red", height=0.5)
        spread = scale * it.errors.get("last", 0)
        axes.errorbar(level, place, xerr=spread, fmt="o", color="black", markersize=4, capsize=3)
        label = f"{level:.2f}" if it.gain is None else f"{level:.2f} ({scale * it.gain:+.2f})"
        axes.annotate(label, (max(level, level - rise), place), (8, 0), textcoords="offset points", va="center")
    axes.use_sticky_edges = False  # leaves a margin left of the bars too
    axes.margins(x=0.2)
    axes.grid(axis="x", alpha=0.3)
    unit = ", % (points gained on the step before)" if scale == 100 else " (gained on the step before)"
    axes.set_xlabel(f"{ablation.metric} after the last epoch{unit}")
    axes.set_title(ablation.description, parse_math=False, wrap=True)
