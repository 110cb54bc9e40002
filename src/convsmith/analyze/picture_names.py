"""Names of the files that pictures of images are written to."""

from __future__ import annotations

from pathlib import Path

from convsmith.errors import ConvsmithError
from convsmith.words import for_terminal


def free_stem(name: str, taken: set[str]) -> str:
    """A name for the files of an image, that no other image of this call has."""
    base = "stdin" if name == "-" else Path(name).stem
    stem, number = base, 1
    while stem in taken:
        number += 1
        stem = f"{base}-{number}"
    taken.add(stem)
    return stem


def refuse_inside(out: Path, name: str, source: object, what: str) -> None:
    """Raise a ConvsmithError for an image that lies in the folder for pictures of it, where they would replace it.

    Args:
        out: that folder.
        name: of the image.
        source: the image, a Path where it is a file.
        what: the pictures.
    """
    if isinstance(source, Path) and out.is_dir() and source.parent.resolve() == out.resolve():
        raise ConvsmithError(
            f"{for_terminal(name)} lies in the folder for the {what}s",
            f"a {what} may replace it",
            "Choose another --out.",
        )
