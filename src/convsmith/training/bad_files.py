"""Files that cannot be decoded and are skipped: counted, listed, and not too many."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from convsmith.data.checks.check import BadFile
from convsmith.errors import ConvsmithError, counted, printable
from convsmith.recipe.data import Data
from convsmith.storage import write_file

logger = logging.getLogger(__name__)

MAX_SHARE, ALWAYS_ALLOWED = 0.01, 3


@dataclass(frozen=True)
class BadFiles:
    """Keeps the list of a run.

    Args:
        list_file: where the list is written.
        data_root: the folder of images; the list survives its moving.
        num_images: images of both splits.
        allowed: how many may be bad, see `most_bad`.
        writes: whether this process writes the list, not another one.
    """

    list_file: Path
    data_root: Path
    num_images: int
    allowed: int
    writes: bool = True

    def add(self, found: Iterable[BadFile], known: dict[str, str]) -> None:
        """Add to `known`, path below the root to reason, and write the list if there is anything new.

        Raises:
            ConvsmithError: too many of all images are bad.
        """
        root = self._root
        self.merge({file.path.removeprefix(root): file.told for file in found}, known)

    def merge(self, new: Mapping[str, str], known: dict[str, str]) -> None:
        """The same with files that are named as in `known`, such as those of another process."""
        if new.keys() <= known.keys():
            return
        known |= new
        if self.writes:
            lines = (f"{self._root}{path}\t{reason}\n" for path, reason in known.items())
            write_file(self.list_file, "".join(lines))
        if len(known) > self.allowed:
            path, reason = next(iter(known.items()))
            raise ConvsmithError(
                f"{len(known)} of {counted(self.num_images, 'image')} cannot be used, and data.max_bad allows "
                f"{self.allowed} to be skipped",
                f"such as {self._root}{path}: {reason}",
                f"Repair or remove the files that {self.list_file} lists, or set data.max_bad={len(known)}.",
            )
        if self.writes:
            left_out = f"{counted(len(known), 'file')} left out"
            logger.warning("%s, because they cannot be used; %s says why of each", left_out, self.list_file)

    @property
    def _root(self) -> str:
        return f"{printable(self.data_root)}/"


def most_bad(data: Data, num_images: int) -> int:
    """How many of all images may be bad under `on_error=skip`: 1 % of them, or 3, unless `max_bad` says otherwise."""
    if data.max_bad is None:
        return max(int(MAX_SHARE * num_images), ALWAYS_ALLOWED)
    return data.max_bad if isinstance(data.max_bad, int) else int(data.max_bad * num_images + 1e-6)  # 0.29 * 100 < 29
