"""Models on the same images: figures of each, and how each differs from the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from convsmith.analyze.compare_recipes import Seeds
from convsmith.analyze.paired import Gap
from convsmith.bundle.figures.evaluation import between
from convsmith.errors import counted
from convsmith.tables import Tabular, add_figures, add_names, new_table
from convsmith.words import for_terminal, metric_name

if TYPE_CHECKING:
    from rich.table import Table

Better = bool | Literal["unclear"]

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


def _between(gap: Gap) -> str:
    return "" if gap.interval is None else f" ({100 * gap.interval[0]:+.2f} to {100 * gap.interval[1]:+.2f})"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(for_terminal(name) for name in names[:_NAMED])
    return f"{counted(len(names), 'image')}{': ' if names else ''}{shown}{', ...' if len(names) > _NAMED else ''}"
