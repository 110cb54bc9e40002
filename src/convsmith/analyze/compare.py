"""Several models on the same images: which is better, by how much, how surely, and at what cost. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convsmith.analyze.benchmark import benchmark
from convsmith.analyze.compare_images import Gaps, SameImages, judge_same_images, measure_gaps, rows_side_by_side
from convsmith.analyze.compare_recipes import Seeds, curves_of, recipe_differences, same_but_for_seed
from convsmith.analyze.house_page import check_page, write_page
from convsmith.analyze.paired import Gap
from convsmith.analyze.report.compare_page import compare_page
from convsmith.analyze.write_rows import check_file, write_rows
from convsmith.bundle.figures.evaluation import between
from convsmith.bundle.predictor import Bundle
from convsmith.data.parts import Part
from convsmith.deploy.format import open_bundle
from convsmith.deploy.labelled import metric_of
from convsmith.errors import ConvsmithError, counted, quoted
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.tables import Tabular, add_figures, add_names, new_table
from convsmith.words import for_terminal, metric_name

if TYPE_CHECKING:
    from rich.table import Table

Better = bool | Literal["unclear"]

_CERTAIN = 0.05
_SECONDS = 0.5  # of each measurement of speed
_NAMED = 5
_ERROR = "ece"


@dataclass(frozen=True)
class Compared:
    """One of the models.

    Attributes:
        path: of the bundle or the run, as it was named.
        format: of the bundle's model.
        held_out: whether its training held these images out; false also where that is not known.
        figures: those of `evaluate`, on the images that all models have judged.
        intervals: their 95 % intervals, as far as they are known.
        megabytes: of the bundle's files.
        milliseconds: of one image in inference alone, the median; None where it was not measured.
        milliseconds_in_all: with decoding and preprocessing.
        curves: of a run: its epochs, by `train` and `val`.
    """

    path: str
    format: str
    held_out: bool
    figures: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]
    megabytes: float
    milliseconds: float | None
    milliseconds_in_all: float | None
    curves: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Difference:
    """A model beside the first one.

    Attributes:
        model: its place among the models.
        better: whether it is better than the first by the metric that judges: `unclear` where chance may explain the
            difference.
        p: how probable as large a difference is where there is none; None where too few images tell it.
        test: what gave p: `mcnemar`, exact, or `bootstrap`, both models on the same drawn images.
        gaps: how far its figures are above those of the first.
        better_images: names of those that it is better about: it has them right, and the first wrong, where each has
            one answer; the largest difference first.
        worse_images: those that the first is better about.
        recipe: the values of both, of each key in which their recipes differ.
    """

    model: int
    better: Better
    p: float | None
    test: str
    gaps: Mapping[str, Gap]
    better_images: tuple[str, ...]
    worse_images: tuple[str, ...]
    recipe: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """Models on the same images.

    Attributes:
        images: how many all of them have judged.
        metric: the figure that decides what is better.
        models: as they were named.
        differences: of each but the first from the first.
        seeds: those of one recipe.
        notes: lines worth reading.
    """

    images: int
    metric: str
    models: tuple[Compared, ...]
    differences: tuple[Difference, ...]
    seeds: tuple[Seeds, ...]
    notes: tuple[str, ...]

    @property
    def better(self) -> Better:
        """Whether the last model is better than the first."""
        return self.differences[-1].better

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values, and `better`."""
        found = asdict(self)
        for difference, given in zip(found["differences"], self.differences, strict=True):
            difference["gaps"] = {name: gap._asdict() for name, gap in given.gaps.items()}
        return {"better": self.better, **found}

    def records(self) -> list[dict[str, Any]]:
        """A row for each model: its figures, size and speed."""
        rows = ({**asdict(model), **model.figures} for model in self.models)
        return [{k: v for k, v in row.items() if k not in ("figures", "intervals", "curves")} for row in rows]

    def parts(self) -> Iterator[str | Table]:
        """A table of the models, and in words how each differs from the first."""
        yield f"{counted(self.images, 'image')}, the same for all models"
        yield self._table()
        for difference in self.differences:
            yield from self._in_words(difference)
        for seeds in self.seeds:
            mean, error = seeds.means[self.metric], seeds.errors[self.metric]
            names = ", ".join(str(number + 1) for number in seeds.models)
            level = f"{metric_name(self.metric)} {mean:.2%} ± {error:.2%}"
            yield f"models {names} are of one recipe with other seeds: {level} (mean, standard error)"
        yield from self.notes

    def _table(self) -> Table:
        from rich.markup import escape

        table = new_table()
        add_figures(table, "")
        add_names(table, "model")
        errors = [model.figures.get(_ERROR) for model in self.models]
        known = [metric_name(_ERROR)] if None not in errors else []
        add_figures(table, metric_name(self.metric), "loss", *known, "MB", "ms", "ms in all")
        for number, model in enumerate(self.models, 1):
            figure, loss = model.figures[self.metric], model.figures.get("loss")
            times = ("" if it is None else f"{it:.2f}" for it in (model.milliseconds, model.milliseconds_in_all))
            share = "" if figure is None else f"{figure:.2%}{between(model.intervals.get(self.metric))}"
            of_probabilities = [loss, *([model.figures[_ERROR]] if known else [])]
            measured = ("" if value is None else f"{value:.4f}" for value in of_probabilities)
            cells = (share, *measured, f"{model.megabytes:.1f}", *times)
            table.add_row(str(number), escape(for_terminal(model.path)), *cells)
        return table

    def _in_words(self, it: Difference) -> Iterator[str]:
        gap, figure = it.gaps.get(self.metric), metric_name(self.metric)
        verdict = {True: "is better than", False: "is worse than", "unclear": "may be as good as"}[it.better]
        chance = "too few images tell more" if it.p is None else f"p {it.p:.2g}, {it.test}"
        points = "" if gap is None else f" by {100 * gap.difference:+.2f} points{_between(gap)}"
        yield f"model {it.model + 1} {verdict} model 1: {figure}{points}, {chance}"
        yield f"  better about {_some(it.better_images)}"
        yield f"  worse about {_some(it.worse_images)}"
        if it.recipe:
            yield "  recipe: " + ", ".join(for_terminal(f"{key} {a} -> {b}") for key, (a, b) in it.recipe.items())


def compare(
    models: Sequence[str | Path],
    data: str | Path,
    *,
    split: Part | None = None,
    batch_size: int = 32,
    out: str | Path | None = None,
    page: str | Path | None = None,
    device: str = "auto",
    allow_code: bool = False,
    progress: ProgressCallback = notebook_progress,
) -> Comparison:
    """Judge models by the images that all of them may be judged by, and compare each with the first.

    Args:
        models: folders of bundles of any format, or runs; two at least, of one task and with the same classes.
        data: labelled images, as `evaluate` takes them. Where models were trained on these, it is the images that all
            of them held out.
        split: the part of the data, in place of the one for validation.
        batch_size: images of a classifier in one forward pass.
        out: a file for what each model says of each image; see `write_rows`.
        page: a file of HTML, which shows all of it, with the curves of runs over each other.
        device: what the models run on, as `load` takes it.
        allow_code: run bundles that may hold code, with the rights of this process.
        progress: called with how many images are done, of how many.

    Raises:
        ConvsmithError: a bundle or the data cannot be used, the models are not for the same classes, or there is no
            image that all of them can be judged by.

    Examples:
        >>> compared = cs.compare(["runs/photos", "runs/other"], "photos/")
        >>> compared.metric, compared.images, compared.differences[0].better
        ('top1', 12, 'unclear')
    """
    if len(models) < 2:
        raise ConvsmithError("one model cannot be compared", fix="Name two at least.")
    if out is not None:
        check_file(Path(out), Path(data))
    if page is not None:
        check_page(Path(page))
    opened = [open_bundle(Path(path), None, None, device, allow_code=allow_code) for path in models]
    _require_alike(opened)
    images = judge_same_images(opened, Path(data), split, batch_size, progress)
    metric = metric_of(opened[0].manifest)
    recipes = [bundle.manifest.recipe for bundle in opened]
    speeds = [_speed(path, device, allow_code, progress) for path in models]
    described = tuple(
        Compared(
            str(path),
            bundle.manifest.format,
            judged.evaluation.held_out,
            judged.evaluation.figures,
            judged.evaluation.intervals,
            _megabytes(bundle.path),
            *speed,
            curves_of(Path(path)),
        )
        for path, bundle, judged, speed in zip(models, opened, images.judged, speeds, strict=True)
    )
    differences = _differences(images, metric, recipes)
    if out is not None:
        write_rows(Path(out), rows_side_by_side(images), opened[0].labels)
    seeds = tuple(same_but_for_seed(recipes, [model.figures for model in described]))
    notes = [*images.notes]
    if len(differences) > 1:
        needed = _CERTAIN / len(differences)
        notes.append(f"{len(differences)} models are compared with the first, so each needs p below {needed:.3g}")
    made = Comparison(len(images.names), metric, described, differences, seeds, tuple(notes))
    if page is not None:
        write_page(Path(page), compare_page(made))
    return made


def _require_alike(bundles: Sequence[Bundle]) -> None:
    """Raise a ConvsmithError unless all bundles have the task and the classes of the first, in whichever order."""
    first = bundles[0]
    for other in bundles[1:]:
        if other.manifest.task != first.manifest.task:
            raise ConvsmithError(
                f"{other.path} cannot be compared with {first.path}",
                f"one is for {other.manifest.task}, the other for {first.manifest.task}",
            )
        if lacking := set(first.labels) ^ set(other.labels):
            raise ConvsmithError(
                f"{other.path} cannot be compared with {first.path}",
                f"only one of them knows {quoted(sorted(lacking))}: a model of fewer classes has an easier task",
                "Compare models of the same classes.",
            )


def _differences(images: SameImages, metric: str, recipes: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """How each model but the first differs from it."""
    found = [measure_gaps(images, metric, number) for number in range(1, len(recipes))]
    return tuple(
        Difference(
            number,
            _better(apart, metric, len(found)),
            apart.p,
            apart.test,
            apart.gaps,
            apart.better_images,
            apart.worse_images,
            recipe_differences(recipes[0], recipes[number]),
        )
        for number, apart in enumerate(found, 1)
    )


def _better(apart: Gaps, metric: str, comparisons: int) -> Better:
    """Decide by the test, where as many differences are tested at once."""
    if apart.p is None or apart.p >= _CERTAIN / comparisons or metric not in apart.gaps:
        return "unclear"
    return apart.gaps[metric].difference > 0


def _speed(
    path: str | Path, device: str, allow_code: bool, progress: ProgressCallback
) -> tuple[float | None, float | None]:
    """Milliseconds of an image in inference, and in all."""
    measured = benchmark(
        [path], batches=(1,), device=device, seconds=_SECONDS, allow_code=allow_code, progress=progress
    )
    stages = {row.stage: row.p50 for row in measured.rows}
    return stages.get("inference"), stages.get("all")


def _megabytes(bundle: Path) -> float:
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 1e6


def _between(gap: Gap) -> str:
    return "" if gap.interval is None else f" ({100 * gap.interval[0]:+.2f} to {100 * gap.interval[1]:+.2f})"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(for_terminal(name) for name in names[:_NAMED])
    return f"{counted(len(names), 'image')}{': ' if names else ''}{shown}{', ...' if len(names) > _NAMED else ''}"
