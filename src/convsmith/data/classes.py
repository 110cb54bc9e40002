"""Classes of data beside those of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsmith.data.layout import quoted
from convsmith.errors import ConvsmithError


def require_classes(data: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    """Raise a ConvsmithError unless the classes found in data are a bundle's, in the same order."""
    if tuple(found) != tuple(expected):
        raise ConvsmithError(
            f"{data} has other classes than the bundle",
            f"its classes are {quoted(found)}",
            f"The bundle's are {quoted(expected)}; they must be the same, in the same order.",
        )
