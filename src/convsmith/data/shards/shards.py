"""The samples of tar shards, and which of them are for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.data.dataset import Split
from convsmith.data.folders.scan import others_note
from convsmith.data.group_split import Groups, groups_in_both
from convsmith.data.parts import ALL_PARTS, Part, part_to_judge
from convsmith.data.shards.members import Members
from convsmith.data.shards.shard_index import index_of
from convsmith.data.shards.shard_paths import ShardPaths, find_shards, no_split
from convsmith.data.shards.shard_samples import Found, Packed
from convsmith.data.split import Keep, Share, hold_out
from convsmith.errors import ConvsmithError, counted, printable


@dataclass(frozen=True)
class Shards:
    """The samples of some shards.

    Attributes:
        paths: the shards.
        found: what is in them.
        stats: size in bytes and time of change of each shard, int64 `[S, 2]`.
    """

    paths: ShardPaths
    found: Found
    stats: NDArray[np.int64]

    @classmethod
    def at(cls, given: Path) -> Shards:
        """The shards that a path means."""
        paths = find_shards(given)
        return cls(paths, *index_of(paths))

    def members(self, packed: Packed, classes: Sequence[str] = ()) -> Members:
        """Some of the members, whose targets are positions among the classes."""
        return Members(self.paths, self.stats, packed, "\n".join(classes).encode())

    def images(self, samples: NDArray[np.int64], classes: Sequence[str] = ()) -> Members:
        """The images of some samples, with their weights and groups."""
        weights = self.found.weights[samples]
        return replace(
            self.members(self.found.images.select(samples), classes),
            weights=None if np.isnan(weights).all() else weights,
            groups=self.groups(samples),
        )

    def groups(self, samples: NDArray[np.int64]) -> Groups | None:
        """The groups of some samples; None where they have none. ConvsmithError if only some of them do."""
        of = self.found.groups[samples]
        if not (without := samples[of < 0]).size:
            return Groups(of.astype(np.int64), self.found.group_names) if len(samples) else None
        if len(without) < len(samples):
            raise ConvsmithError(
                f"{self.sample(int(without[0]))} has no group, and others have",
                f"it is text in a .group; {counted(len(without), 'sample')} lack it",
                "Write it for each of them; an image that belongs to no other is a group of its own.",
            )
        return None

    def of_split(self, *splits: str) -> NDArray[np.int64]:
        """The numbers of the samples of some splits."""
        wanted = np.array([split in splits for split in self.paths.splits])
        return np.flatnonzero(wanted[self.found.images.places["shard"]])

    def parts(
        self,
        strata: NDArray[np.int64] | NDArray[np.int32],
        share: Share | None,
        keep: Keep | None = None,
    ) -> tuple[dict[Split, NDArray[np.int64]], list[str]]:
        """The numbers of the samples to train on and to validate on, and notes.

        Args:
            strata: what has to be in both where some is held out, such as the label of each sample.
            share: see `Opener.open`.
            keep: says, of samples to train on and of those held out, which of the latter to train on after all.
        """
        train, val = self.learned(), self.of_split("val")
        notes = [others_note(self.found.others)] if self.found.others else []
        if tests := len(self.of_split("test")):
            notes.append(f"left out: {counted(tests, 'sample')} of the split `test`")
        if not len(val) and share is not None:
            total, groups = len(train), self.groups(train)
            names = self.members(self.found.images.select(train)).names
            spare = None if keep is None else lambda to_train, held: keep(train[to_train], train[held])
            held_out = hold_out(names, strata[train].astype(np.int64), share, spare, groups)
            train, val = train[~held_out], train[held_out]
            if not len(val):
                raise ConvsmithError(
                    f"no images left for validation in {printable(self.paths.root)}",
                    f"there is no class of which one {'image' if groups is None else 'group'} could be spared",
                    "Add images, or give shards of the split `val`.",
                )
            whole = "" if groups is None else f", {groups.select(np.flatnonzero(held_out)).count()} whole groups,"
            notes.append(
                f"no shards of the split `val`: held out {len(val)} of {total} images{whole} for validation, the same "
                "ones"
            )
        elif len(val):
            both = np.concatenate([train, val])
            notes += groups_in_both(self.groups(both), np.arange(len(train)), np.arange(len(train), len(both)))
        return {"train": train, "val": val}, notes

    def learned(self) -> NDArray[np.int64]:
        """The numbers of the samples to train on, before some are held out."""
        if not len(train := self.of_split("", "train")):
            raise no_split(self.paths, "train")
        return train

    def judged(self, wanted: Part | None) -> tuple[NDArray[np.int64], bool]:
        """The samples to judge a model by: those of a part, see `part_to_judge`, or all; and whether it is a part."""
        there = {part: samples for part in ALL_PARTS if len(samples := self.of_split(part))}
        part = part_to_judge(self.paths.root, wanted, there)
        return (self.of_split("", "train"), False) if part is None else (there[part], True)

    def sample(self, i: int) -> str:
        """A sample in messages."""
        return printable(self.members(self.found.images)[i].name)
