"""Every file of the data is looked at before the first step."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.data.check import BadFile, check_files
from convsmith.data.dataset import DataSet, Samples, num_samples, splits
from convsmith.errors import ConvsmithError, counted
from convsmith.launch.world import World
from convsmith.recipe.schema import Recipe
from convsmith.training.bad_files import BadFiles
from convsmith.training.distributed import Poll, gather
from convsmith.training.observers.base import Observer
from convsmith.training.progress import Progress


def check_data(
    recipe: Recipe,
    dataset: DataSet,
    progress: Progress,
    bad_files: BadFiles,
    watchers: Sequence[Observer],
    world: World,
    poll: Poll,
) -> None:
    """Find files that cannot be decoded before a step is spent on them; returns early on a stop request.

    Of several processes each looks at a share.

    Raises:
        ConvsmithError: there are some, and the recipe does not skip them or they are too many.
    """
    total = num_samples(dataset)
    bad: list[BadFile] = []
    before = 0
    for split, samples in splits(dataset).items():

        def tell(done: int, _: int, before: int = before, samples: Samples = samples) -> bool:
            for watcher in watchers:
                watcher.progress("check", min(before + done * world.size, before + len(samples)), total)
            return not poll.asked

        own = check_files(samples, tell, world.rank, world.size)
        if poll.now():
            return
        found = [file for share in gather(world, own) for file in share]
        if found and len(found) == len(samples):
            raise ConvsmithError(
                f"none of the {counted(len(samples), 'image')} of `{split}` can be used",
                f"{found[0].path}: {found[0].reason}",
                found[0].fix or "Repair or replace them.",
            )
        bad += found
        before += len(samples)
    if recipe.data.on_error == "skip":
        bad_files.add(bad, progress.bad_files)
    elif bad:
        raise _unusable(bad, total)


def _unusable(bad: Sequence[BadFile], total: int) -> ConvsmithError:
    listed = "".join(f"\n  {file.path}: {file.reason}" for file in bad[:10])
    more = f"\n  and {len(bad) - 10} more" if len(bad) > 10 else ""
    fixes = dict.fromkeys(file.fix for file in bad if file.fix)
    return ConvsmithError(
        f"{len(bad)} of {counted(total, 'image')} cannot be used:{listed}{more}",
        fix="\n".join([*list(fixes)[:3], "Repair or remove them, or set data.on_error=skip."]),
    )
