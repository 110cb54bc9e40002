"""Files that cannot be decoded and are skipped: counted, listed, and not too many."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from convsmith.data.check import BadFile
from convsmith.data.index import printable
from convsmith.errors import ConvsmithError
from convsmith.storage import write_file

logger = logging.getLogger(__name__)

MAX_SHARE = 0.01


@dataclass(frozen=True)
class BadFiles:
    """Keeps the list of a run.

    Args:
        list_file: where the list is written.
        data_root: the folder of images; the list survives its moving.
        num_images: images of both splits.
        writes: whether this process writes the list, not another one.
    """

    list_file: Path
    data_root: Path
    num_images: int
    writes: bool = True

    def add(self, found: Iterable[BadFile], known: dict[str, str]) -> None:
        """Add to `known`, path below the root to reason, and write the list if there is anything new.

        Raises:
            ConvsmithError: more than 1 % of all images are bad.
        """
        root = self._root
        self.merge({file.path.removeprefix(root): file.reason for file in found}, known)

    def merge(self, new: Mapping[str, str], known: dict[str, str]) -> None:
        """The same with files that are named as in `known`, such as those of another process."""
        if new.keys() <= known.keys():
            return
        known |= new
        if self.writes:
            lines = (f"{self._root}{path}\t{reason}\n" for path, reason in known.items())
            write_file(self.list_file, "".join(lines))
            logger.warning("%d files cannot be decoded and are skipped; %s lists them", len(known), self.list_file)
        if len(known) > MAX_SHARE * self.num_images:
            raise ConvsmithError(
                f"{len(known)} of {self.num_images} images cannot be decoded",
                "that is more than 1 %, too many to be skipped",
                f"Repair or remove the files that {self.list_file} lists.",
            )

    @property
    def _root(self) -> str:
        return f"{printable(self.data_root)}/"
