"""Pairs of images that are the same, or nearly, where they must not be."""

from __future__ import annotations

from dataclasses import dataclass

Names = tuple[str, str]


@dataclass(frozen=True)
class Copies:
    """Pairs of one kind.

    Attributes:
        told: what they are, in words, with how many there are and an example.
        number: how many there are.
        pairs: the names of both, as printable text; of the first ones, at most `MOST_NAMED`.
    """

    told: str
    number: int
    pairs: tuple[Names, ...]

    def __str__(self) -> str:
        """The words."""
        return self.told
