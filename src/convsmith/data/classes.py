"""Names of classes: in a file beside data, and beside those of a model."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from convsmith.errors import ConvsmithError, printable, quoted

CLASSES_FILE = "classes.txt"
"""Names the classes of numbered targets: one on each line, 0 first."""


def read_class_names(path: Path, check: Callable[[Sequence[str]], None]) -> tuple[str, ...]:
    """The names of classes in a file with one on each line, NFC-normalised.

    Args:
        path: of the file.
        check: raises a ValueError for names that cannot be those of classes.

    Raises:
        ConvsmithError: it cannot be read, or they cannot.
    """
    try:
        lines = path.read_text("utf-8-sig").rstrip().splitlines()
        names = tuple(unicodedata.normalize("NFC", line.strip()) for line in lines)
        check(names)
    except UnicodeDecodeError as error:
        raise ConvsmithError(f"{printable(path)} is not UTF-8", "", "Save it as UTF-8.") from error
    except (OSError, ValueError) as error:
        raise ConvsmithError(
            f"cannot take the classes from {printable(path)}", str(error), "Name one class on each line, 0 first."
        ) from error
    return names


def require_classes(data: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    """Raise a ConvsmithError unless the classes found in data are a bundle's, in the same order."""
    if tuple(found) != tuple(expected):
        raise ConvsmithError(
            f"{data} has other classes than the bundle",
            f"its classes are {quoted(found)}",
            f"The bundle's are {quoted(expected)}; they must be the same, in the same order.",
        )
