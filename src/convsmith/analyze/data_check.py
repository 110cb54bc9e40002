"""The findings about a data set, and how they are printed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from convsmith.analyze.data_tables import class_table, label_table
from convsmith.analyze.label_errors import LabelErrors
from convsmith.data.checks.check import BadFile
from convsmith.data.checks.copies import Copies
from convsmith.data.checks.facts import Size, SplitFacts, Suspects
from convsmith.data.dataset import Split
from convsmith.tables import Tabular
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 10  # bad samples in print: where masks have a value that is not a class, all of them may be bad


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
        alike: images that the embeddings of a bundle hold for nearly the same, likewise; empty without such a bundle.
        outliers: images that are far from all others of their class; None if there are none.
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
    alike: tuple[Copies, ...]
    outliers: Suspects | None
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
        if any(any(facts.classes) for facts in self.facts.values()):  # else no mask could be read
            yield class_table(self.classes, self.facts, self.counted)
        outliers = [self.outliers] if self.outliers else []
        yield from (for_terminal(str(line)) for line in (*self.notes, *self.repeated, *self.alike, *outliers))
        yield from (f"warning: {for_terminal(str(line))}" for line in (*self.warnings, *self.suspicious))
        if self.label_errors is not None:
            yield from self._labels(self.label_errors)
        kind = "error" if self.strict else "warning"
        yield from (f"{kind}: {for_terminal(str(line))}" for line in self.copies)
        yield from (f"bad:   {for_terminal(file.path)}: {for_terminal(file.told)}" for file in self.bad[:_SHOWN])
        if len(self.bad) > _SHOWN:
            yield f"bad:   and {len(self.bad) - _SHOWN:,} more, which --json names"
        if self.problem:
            yield f"error: {self.problem}"

    def _labels(self, found: LabelErrors) -> Iterator[str | Table]:
        """The labels that are probably wrong, with those that are most certainly so."""
        yield for_terminal(f"{'warning: ' if found.number else ''}{found}")
        if found.number and found.can_judge:
            yield label_table(found.errors)
