"""Words about the recipe that was chosen for some images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping

from convsmith.words import for_terminal


def say_choice(reasons: Iterable[str], recipe: str, overrides: Iterable[str], options: Mapping[str, str]) -> None:
    """Say on standard error why the recipe was chosen, and what would train the same without a choice."""
    named = [word for pair in options.items() for word in pair if word]
    last = {word.partition("=")[0]: word for word in overrides}.values()  # the last of a key counts
    for line in (*reasons, f"so: {shlex.join(['convsmith', 'train', recipe, *named, *last])}"):
        print(for_terminal(line), file=sys.stderr, flush=True)
