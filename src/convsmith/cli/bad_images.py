"""Images that a command can do nothing with: a line each on standard error, and the exit code 1 at the end."""

from __future__ import annotations

import sys

import typer

from convsmith.words import for_terminal


class BadImages:
    """Says why images are left out, and counts them."""

    def __init__(self) -> None:
        self._count = 0

    def complain(self, name: str, reason: str) -> None:
        """Say why the image of that name is left out."""
        self.tell(f"{name}: {reason}")

    def tell(self, words: str) -> None:
        """Say what is wrong with an image."""
        self._count += 1
        print(f"error: {for_terminal(words)}", file=sys.stderr)

    def end(self) -> None:
        """Exit with the code 1 if there were any."""
        if self._count:
            raise typer.Exit(1)


def note(line: str) -> None:
    """Say on standard error what else is worth knowing of the images."""
    print(line, file=sys.stderr)
