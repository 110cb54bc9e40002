"""Facts about a data set before a training: the same look that a training takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.analyze.choose_recipe import recipe_for_data
from convsmith.analyze.data_tables import class_table, label_table
from convsmith.analyze.label_errors import LabelErrors, judge_labels
from convsmith.data.checks.check import BadFile, bad_files_of, joined, look, mark_too_large
from convsmith.data.checks.copies import Copies
from convsmith.data.checks.facts import Size, SplitFacts, Suspects, split_facts, suspects
from convsmith.data.checks.look import Looks
from convsmith.data.checks.near_copies import near_copies
from convsmith.data.dataset import Findings, Split, num_samples, splits
from convsmith.data.loading.sampler import used_samples
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.schema import Recipe
from convsmith.tables import Tabular
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, repr=False)
class DataCheck(Tabular):
    """Findings about a data set.

    Attributes:
        classes: their names.
        samples: how many there are in each split.
        sizes: height and width in pixels of the smallest and the largest image of each split; None if none is good.
        bad: samples that cannot be used.
        notes: lines worth reading.
        warnings: what is probably not meant.
        copies: images that are where they must not be twice, or nearly the same ones: in training and validation, or in
            two classes.
        repeated: images that are there twice, or nearly, in one class of one split.
        suspicious: images that can be read, but are probably not what was meant.
        label_errors: labels that are probably wrong; None where no bundle judged them.
        facts: sizes, kinds of files, and counts of the classes of each split.
        counted: what is counted of the classes: `images`, or `pixels` of masks.
        strict: whether copies are an error.
        problem: why nothing can be learned from it, or judged by it, as it is; None if it can.
    """

    classes: tuple[str, ...]
    samples: dict[Split, int]
    sizes: dict[Split, tuple[Size, Size] | None]
    bad: tuple[BadFile, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    copies: tuple[Copies, ...]
    repeated: tuple[Copies, ...]
    suspicious: tuple[Suspects, ...]
    label_errors: LabelErrors | None
    facts: dict[Split, SplitFacts]
    counted: str
    strict: bool
    problem: str | None

    @property
    def usable(self) -> bool:
        """Whether a training that skips nothing would begin, and where the check is strict, there are no copies."""
        return not self.bad and self.problem is None and not (self.strict and self.copies)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """A row for each split: its samples, and the smallest, the median and the largest size."""
        return [
            {
                "split": split,
                "samples": facts.images,
                "smallest": facts.sizes and facts.sizes.smallest,
                "median": facts.sizes and facts.sizes.median,
                "largest": facts.sizes and facts.sizes.largest,
            }
            for split, facts in self.facts.items()
        ]

    def parts(self) -> Iterator[str | Table]:
        """The splits and their classes, and what is worth reading, doubtful, bad and wrong."""
        yield from (f"{split + ':':6} {facts}" for split, facts in self.facts.items())
        yield class_table(self.classes, self.facts, self.counted)
        yield from (for_terminal(str(line)) for line in (*self.notes, *self.repeated))
        yield from (f"warning: {for_terminal(str(line))}" for line in (*self.warnings, *self.suspicious))
        if self.label_errors is not None:
            yield from self._labels(self.label_errors)
        kind = "error" if self.strict else "warning"
        yield from (f"{kind}: {for_terminal(str(line))}" for line in self.copies)
        yield from (f"bad:   {for_terminal(file.path)}: {for_terminal(file.told)}" for file in self.bad)
        if self.problem:
            yield f"error: {self.problem}"

    def _labels(self, found: LabelErrors) -> Iterator[str | Table]:
        """The labels that are probably wrong, with those that are most certainly so."""
        yield for_terminal(f"{'warning: ' if found.number else ''}{found}")
        if found.number:
            yield label_table(found.errors)


def check_data(
    data: str | Path,
    recipe: Recipe | str | Path | None = None,
    overrides: Sequence[str] = (),
    progress: ProgressCallback = notebook_progress,
    *,
    strict: bool = False,
    bundles: Sequence[str | Path] = (),
) -> DataCheck:
    """Look at every sample as a training of the recipe does before its first step.

    Args:
        data: the folder.
        recipe: says what the data are for, and how they are read: a recipe, or the name or path of one; None: one for
            such a folder.
        overrides: changes to the recipe.
        progress: called with how many samples are done, of how many.
        bundles: bundles or runs that judge the labels of images that they have not learned from.
        strict: images that are in training and validation, or in two classes, make the data unusable.

    Raises:
        ConvsmithError: the folder cannot be opened as such data.
    """
    checked = recipe_for_data(Path(data), recipe, overrides)
    dataset = data_of_recipe(checked, Path(data))
    parts, total = splits(dataset), num_samples(dataset)
    looks: dict[Split, Looks] = {}
    for split, samples in parts.items():
        seen = sum(len(part.rows) for part in looks.values())

        def tell(what: str, done: int, _: int | None, seen: int = seen) -> None:
            progress(what, seen + done, total)

        looks[split] = look(samples, True, joined(*looks.values()), with_prints=True, progress=tell)
    mark_too_large(dataset, checked.preprocess, looks["val"])
    bad = [file for split, samples in parts.items() for file in bad_files_of(samples, looks[split])]
    told = Findings([], [])
    problem = None
    try:
        told = dataset.findings(looks, used_samples(checked.sampling, dataset.train.targets, checked.seed))
    except ConvsmithError as error:
        problem = str(error)
    label_errors = None
    if bundles:
        label_errors, judging = judge_labels(dataset, Path(data), [Path(bundle) for bundle in bundles], progress)
        told = told._replace(notes=[*told.notes, *judging])
    facts, near = split_facts(dataset, looks), near_copies(dataset, looks)
    return DataCheck(
        classes=dataset.classes,
        samples={split: len(samples) for split, samples in parts.items()},
        sizes={split: it.sizes and (it.sizes.smallest, it.sizes.largest) for split, it in facts.items()},
        bad=tuple(bad),
        notes=(*dataset.notes, *told.notes),
        warnings=tuple(told.warnings),
        copies=(*told.copies, *near.copies),
        repeated=near.repeated,
        suspicious=tuple(suspects(dataset, looks)),
        label_errors=label_errors,
        facts=facts,
        counted=dataset.counted,
        strict=strict,
        problem=problem,
    )
