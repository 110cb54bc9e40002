"""Every file of the data is looked at before the first step."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.data.check import BadFile, check_files
from convsmith.data.dataset import DataSet, num_samples, splits
from convsmith.errors import ConvsmithError
from convsmith.recipe.schema import Recipe
from convsmith.training.bad_files import BadFiles
from convsmith.training.observers.base import Observer
from convsmith.training.progress import Progress
from convsmith.training.signals import StopRequest


def check_data(
    recipe: Recipe,
    dataset: DataSet,
    progress: Progress,
    bad_files: BadFiles,
    watchers: Sequence[Observer],
    stop: StopRequest,
) -> None:
    """Find files that cannot be decoded before a step is spent on them; returns early on a stop request.

    Raises:
        ConvsmithError: there are some, and the recipe does not skip them or they are too many.
    """
    total = num_samples(dataset)
    bad: list[BadFile] = []
    before = 0
    for samples in splits(dataset):

        def tell(done: int, _: int, before: int = before) -> bool:
            for watcher in watchers:
                watcher.progress("check", before + done, total)
            return not stop

        found = check_files(samples, tell)
        if stop:
            return
        if found and len(found) == len(samples):
            raise ConvsmithError(f"none of the images in {found[0].path} and beside it can be decoded", found[0].reason)
        bad += found
        before += len(samples)
    if recipe.data.on_error == "skip":
        bad_files.add(bad, progress.bad_files)
    elif bad:
        listed = "".join(f"\n  {file.path}: {file.reason}" for file in bad[:10])
        more = f"\n  and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise ConvsmithError(
            f"{len(bad)} of {total} files cannot be decoded:{listed}{more}",
            fix="Repair or remove them, or set data.on_error=skip.",
        )
