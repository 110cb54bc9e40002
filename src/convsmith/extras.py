"""Extras and the packages that they bring, as `pyproject.toml` says and an installed convsmith knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

_NAME = "convsmith"
_OF_AN_EXTRA = re.compile(r"""([\w.-]+)(?:\[([\w,-]+)\])?.*;.*\bextra *== *["']([\w-]+)["']""")


def extra_of(package: str) -> str | None:
    """The first extra in `pyproject.toml` that names a package itself; None where none does.

    Args:
        package: as it is imported or as it is installed, such as `python_multipart` or `python-multipart`.
    """
    return next((extra for name, _, extra in _requirements() if name == _plain(package) != _NAME), None)


def packages_of(extra: str) -> list[str]:
    """The packages that an extra brings, by itself or by other extras, as they are installed; sorted."""
    found: set[str] = set()
    for name, others, of in _requirements():
        if of == extra:
            found.update(*map(packages_of, others)) if name == _NAME else found.add(name)
    return sorted(found)


@cache
def _requirements() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Each package that an extra asks for, the extras of that package, and the extra."""
    return tuple(_read_requirements())


def _read_requirements() -> Iterator[tuple[str, tuple[str, ...], str]]:
    from importlib.metadata import requires  # takes a tenth of the time that a `--help` has

    for line in requires(_NAME) or ():
        if match := _OF_AN_EXTRA.match(line):
            name, others, extra = match.groups()
            yield _plain(name), tuple(others.split(",")) if others else (), extra


def _plain(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
