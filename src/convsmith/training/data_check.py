"""Every file of the data is looked at before the first step."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from convsmith.bundle.images.limits import max_pixels
from convsmith.data.checks.check import (
    BadFile,
    bad_files_of,
    decodes,
    joined,
    look,
    mark_too_large,
    positions_of_changed,
)
from convsmith.data.checks.facts import short_facts
from convsmith.data.checks.look import Looks
from convsmith.data.checks.record import LookRecord
from convsmith.data.dataset import DataSet, Samples, Split, num_samples, splits
from convsmith.data.loading.sampler import used_samples
from convsmith.errors import ConvsmithError, counted, printable
from convsmith.machine import available_cores
from convsmith.recipe.schema import Recipe
from convsmith.spec import RGB
from convsmith.training.parallel.distributed import broadcast, gather
from convsmith.training.session import Session

logger = logging.getLogger(__name__)


def check_data(session: Session) -> list[int]:
    """Find files that cannot be decoded before a step is spent on them; returns early on a stop request.

    Each of several processes looks at a share. What was looked at before, and is recorded beside the run, is not looked
    at again.

    Returns:
        The positions of the largest and the smallest validation image.

    Raises:
        ConvsmithError: there are some, and the recipe does not skip them or they are too many; or, before the first
            step, there is nothing to learn or to judge by.
    """
    recipe, dataset, world, poll = session.recipe, session.dataset, session.world, session.poll
    decode = decodes(dataset.train, dataset.val)
    bands = recipe.bands
    rules = f"{decode} {max_pixels()} {len(dataset.classes)} {recipe.data.masks}{f' {bands}' if bands != RGB else ''}"
    record = LookRecord(session.run.path / "data_check.npz", rules)
    before = broadcast(world, record.read())
    looks: dict[Split, Looks] = {}
    for split, samples in splits(dataset).items():
        seen = sum(len(part.rows) for part in looks.values())

        def tell(what: str, done: int, _: int | None, seen: int = seen, samples: Samples = samples) -> None:
            session.tell(what, seen + min(done * world.size, len(samples)), num_samples(dataset))

        begin, end = (len(samples) * share // world.size for share in (world.rank, world.rank + 1))
        known = joined(before, *looks.values())
        own = look(
            samples.select(np.arange(begin, end)),
            decode,
            known,
            max(1, available_cores() // world.local_size),
            bands=bands,
            progress=tell,
            stopping=lambda: poll.asked,
        )
        looks[split] = joined(*gather(world, own))
        if poll.now():
            break
    if session.progress.step:
        _check_unchanged(dataset, before, looks)
    if world.leads:
        record.write(joined(*looks.values()), unless=before)
    if poll.stopping:
        return []
    mark_too_large(dataset, recipe.preprocess, looks["val"])
    bad = {split: bad_files_of(samples, looks[split]) for split, samples in splits(dataset).items()}
    _check_bad(session, bad)
    if session.progress.step == 0:
        _tell_findings(recipe, dataset, looks)
    return _extremes(looks["val"])


def _tell_findings(recipe: Recipe, dataset: DataSet, looks: dict[Split, Looks]) -> None:
    """Say what is worth knowing of the data, or raise a ConvsmithError if no training can come of them."""
    used = used_samples(recipe.sampling, dataset.train.targets, recipe.seed)
    for found in (short_facts(dataset, looks), dataset.findings(looks, used)):
        for note in found.notes:
            logger.info(note)
        for warning in (*found.warnings, *found.copies):
            logger.warning(warning)


def _extremes(val: Looks) -> list[int]:
    pixels = val.rows["height"].astype(np.int64) * val.rows["width"]
    good = np.setdiff1d(np.flatnonzero(pixels), list(val.bad))
    ordered = good[np.argsort(pixels[good], kind="stable")]
    return [int(ordered[-1]), int(ordered[0])] if len(ordered) else []


def _check_unchanged(dataset: DataSet, before: Looks, looks: dict[Split, Looks]) -> None:
    """Raise a ConvsmithError if files have another content than when the run began."""
    changed = [
        samples.name(i)
        for split, samples in splits(dataset).items()
        for i in positions_of_changed(before, looks[split])
    ]
    if changed:
        raise ConvsmithError(
            f"{counted(len(changed), 'sample')} of {dataset.root} changed since this run began, such as "
            f"{printable(changed[0])}",
            "the name is the same, the content is not",
            "Put the files back to go on, or start a new run in another directory with --out.",
        )


def _check_bad(session: Session, bad: dict[Split, list[BadFile]]) -> None:
    for split, found in bad.items():
        if found and len(found) == len(splits(session.dataset)[split]):
            raise ConvsmithError(
                f"none of the {counted(len(found), 'image')} of `{split}` can be used",
                f"{found[0].path}: {found[0].reason}",
                found[0].fix or "Repair or replace them.",
            )
    every = [file for found in bad.values() for file in found]
    if session.recipe.data.on_error == "skip":
        session.bad_files.add(every, session.progress.bad_files)
    elif every:
        raise _unusable(every, num_samples(session.dataset))


def _unusable(bad: Sequence[BadFile], total: int) -> ConvsmithError:
    listed = "".join(f"\n  {file.path}: {file.reason}" for file in bad[:10])
    more = f"\n  and {len(bad) - 10} more" if len(bad) > 10 else ""
    fixes = dict.fromkeys(file.fix for file in bad if file.fix)
    return ConvsmithError(
        f"{len(bad)} of {counted(total, 'image')} cannot be used:{listed}{more}",
        fix="\n".join([*list(fixes)[:3], "Repair or remove them, or set data.on_error=skip."]),
    )
