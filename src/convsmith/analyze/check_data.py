"""Facts about a data set before a training: the same look that a training takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.analyze.choose_recipe import recipe_for_data
from convsmith.data.checks.check import BadFile, bad_files_of, decodes, joined, look, mark_too_large
from convsmith.data.checks.look import Looks
from convsmith.data.dataset import Findings, Split, num_samples, splits
from convsmith.data.loading.sampler import used_samples
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.schema import Recipe
from convsmith.tables import Tabular
from convsmith.words import for_terminal


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
        problem: why nothing can be learned from it, or judged by it, as it is; None if it can.
    """

    classes: tuple[str, ...]
    samples: dict[Split, int]
    sizes: dict[Split, tuple[tuple[int, int], tuple[int, int]] | None]
    bad: tuple[BadFile, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    problem: str | None

    @property
    def usable(self) -> bool:
        """Whether a training that skips nothing would begin."""
        return not self.bad and self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """A row for each split: its samples, and the smallest and the largest size."""
        return [
            {"split": split, "samples": count, "smallest": sizes and sizes[0], "largest": sizes and sizes[1]}
            for (split, count), sizes in zip(self.samples.items(), self.sizes.values(), strict=True)
        ]

    def parts(self) -> Iterator[str]:
        """The splits, and what is worth reading, doubtful, bad and wrong."""
        for split, count in self.samples.items():
            sizes = self.sizes[split]
            span = f", {_pixels(sizes[0])} to {_pixels(sizes[1])} pixels" if sizes else ""
            yield f"{split + ':':6} {count:,} images{span}"
        yield from map(for_terminal, self.notes)
        yield from (f"warning: {for_terminal(line)}" for line in self.warnings)
        yield from (f"bad:   {for_terminal(file.path)}: {for_terminal(file.told)}" for file in self.bad)
        if self.problem:
            yield f"error: {self.problem}"


def check_data(
    data: str | Path,
    recipe: Recipe | str | Path | None = None,
    overrides: Sequence[str] = (),
    progress: ProgressCallback = notebook_progress,
) -> DataCheck:
    """Look at every sample as a training of the recipe does before its first step.

    Args:
        data: the folder.
        recipe: says what the data are for, and how they are read: a recipe, or the name or path of one; None: one for
            such a folder.
        overrides: changes to the recipe.
        progress: called with how many samples are done, of how many.

    Raises:
        ConvsmithError: the folder cannot be opened as such data.
    """
    checked = recipe_for_data(Path(data), recipe, overrides)
    dataset = data_of_recipe(checked, Path(data))
    parts, total = splits(dataset), num_samples(dataset)
    decode = decodes(dataset.train, dataset.val)
    looks: dict[Split, Looks] = {}
    for split, samples in parts.items():
        seen = sum(len(part.rows) for part in looks.values())

        def tell(what: str, done: int, _: int | None, seen: int = seen) -> None:
            progress(what, seen + done, total)

        looks[split] = look(samples, decode, joined(*looks.values()), progress=tell)
    mark_too_large(dataset, checked.preprocess, looks["val"])
    bad = [file for split, samples in parts.items() for file in bad_files_of(samples, looks[split])]
    told: Findings = [], []
    problem = None
    try:
        told = dataset.findings(looks, used_samples(checked.sampling, dataset.train.targets, checked.seed))
    except ConvsmithError as error:
        problem = str(error)
    return DataCheck(
        classes=dataset.classes,
        samples={split: len(samples) for split, samples in parts.items()},
        sizes={split: _sizes(looks[split]) for split in parts},
        bad=tuple(bad),
        notes=(*dataset.notes, *told[0]),
        warnings=tuple(told[1]),
        problem=problem,
    )


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def _sizes(looks: Looks) -> tuple[tuple[int, int], tuple[int, int]] | None:
    good = looks.rows[looks.rows["height"] > 0]
    sizes = sorted(set(zip(good["height"].tolist(), good["width"].tolist(), strict=True)), key=math.prod)
    return (sizes[0], sizes[-1]) if sizes else None
