"""A file of what was looked at, so that the next look is at changes only."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convsmith.data.checks.check import NOTHING
from convsmith.data.checks.look import PIXELS, ROW, Looks
from convsmith.storage import write_file

_VERSION = 2


@dataclass(frozen=True)
class LookRecord:
    """The file of samples that were found good; of the others there may be more to say the next time.

    Args:
        path: where it is.
        rules: names how deep the look is, and what masks are read by: another look begins anew.
    """

    path: Path
    rules: str

    def read(self) -> Looks:
        """Read the file; nothing if it is not there, damaged, or of other rules."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                rows, pixels, key = file["rows"], file["pixels"], str(file["key"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return NOTHING
        return Looks(rows, pixels, {}) if (key, rows.dtype, pixels.dtype) == (self._key, ROW, PIXELS) else NOTHING

    def write(self, looks: Looks, unless: Looks) -> None:
        """Keep what is known of the good ones, unless that is what was read."""
        rows = looks.rows[looks.rows["height"] > 0]
        rows = rows[np.unique(rows["name"], return_index=True)[1]]  # a sample may be in several splits
        if np.array_equal(rows, unless.rows):
            return
        pixels = np.unique(looks.pixels[np.isin(looks.pixels["name"], rows["name"])])
        content = io.BytesIO()
        np.savez(content, rows=rows, pixels=pixels, key=self._key)
        write_file(self.path, content.getvalue())

    @property
    def _key(self) -> str:
        return hashlib.sha256(f"{_VERSION} {self.rules}".encode()).hexdigest()
