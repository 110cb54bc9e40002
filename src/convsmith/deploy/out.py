"""Which folder may be replaced by a bundle."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convsmith.bundle.format import MANIFEST
from convsmith.errors import ConvsmithError


def check_out(out: Path, reads: Iterable[Path], marks: Iterable[str] = (MANIFEST,)) -> None:
    """Refuse to replace what is no artefact, or what the artefact is made of.

    Args:
        out: the folder to write.
        reads: what must stay, wherever in `out` it is.
        marks: a folder that holds one of these files may be replaced, and so may an empty one.

    Raises:
        ConvsmithError: it must not be written.
    """
    for kept in reads:
        if kept.resolve().is_relative_to(out.resolve()):
            raise ConvsmithError(
                f"{out} cannot be replaced", f"{kept} is read for it", "Choose another folder with --out."
            )
    known = any((out / mark).is_file() for mark in marks)
    if out.exists() and not known and (not out.is_dir() or any(out.iterdir())):
        raise ConvsmithError(
            f"{out} is there already", "it holds something else than an export", "Choose another folder with --out."
        )
