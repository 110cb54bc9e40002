"""Facts about a data set before a training: the same look that a training takes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.data.check import BadFile, bad_files_of, decodes, joined, look, mark_too_large
from convsmith.data.dataset import Findings, Split, num_samples, splits
from convsmith.data.look import Looks
from convsmith.data.open_data import data_of_recipe
from convsmith.data.sampler import used_samples
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback, no_progress
from convsmith.recipe.schema import Recipe


@dataclass(frozen=True)
class DataCheck:
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


def check_data(recipe: Recipe, data: Path, progress: ProgressCallback = no_progress) -> DataCheck:
    """Look at every sample as a training of the recipe does before its first step.

    Args:
        recipe: says what the data are for, and how they are read.
        data: the folder.
        progress: called with how many samples are done, of how many.

    Raises:
        ConvsmithError: the folder cannot be opened as such data.
    """
    dataset = data_of_recipe(recipe, data)
    parts, total = splits(dataset), num_samples(dataset)
    decode = decodes(dataset.train, dataset.val)
    looks: dict[Split, Looks] = {}
    for split, samples in parts.items():
        seen = sum(len(part.rows) for part in looks.values())

        def tell(what: str, done: int, _: int | None, seen: int = seen) -> None:
            progress(what, seen + done, total)

        looks[split] = look(samples, decode, joined(*looks.values()), progress=tell)
    mark_too_large(dataset, recipe.preprocess, looks["val"])
    bad = [file for split, samples in parts.items() for file in bad_files_of(samples, looks[split])]
    told: Findings = [], []
    problem = None
    try:
        told = dataset.findings(looks, used_samples(recipe.sampling, dataset.train.targets, recipe.seed))
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


def _sizes(looks: Looks) -> tuple[tuple[int, int], tuple[int, int]] | None:
    good = looks.rows[looks.rows["height"] > 0]
    sizes = sorted(set(zip(good["height"].tolist(), good["width"].tolist(), strict=True)), key=math.prod)
    return (sizes[0], sizes[-1]) if sizes else None
