"""A folder of Parquet files with the answers to images: several processes add to it, each image has its rows once.

A file is there whole or not at all, and named by the images whose rows it holds: a batch that is answered once more, as
after the loss of a worker, is written in its own place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ConvsmithError
from convsmith.jobs.part_folder import begun, errors_of
from convsmith.storage import clear_abandoned, write_file

_WORK = "_work"  # readers of folders of Parquet leave out what begins so
_BYTES = 16  # of what stands for a name: too many for two names to have the same


class Held(NamedTuple):
    """The images that have rows.

    Attributes:
        names: the digests of their names, in order.
        bad: how many have an error.
        doubles: files with an image that has its rows in another one.
    """

    names: NDArray[np.bytes_]
    bad: int
    doubles: list[Path]


def digests(names: Iterable[str]) -> NDArray[np.bytes_]:
    """Digests that stand for names, bytes [N]."""
    return np.array([_digest(name) for name in names], f"S{_BYTES}")


def lacking(names: Sequence[str], held: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which of names are not among digests in order, bool [N]."""
    if not len(held):
        return np.ones(len(names), bool)
    wanted = digests(names)
    found = held[np.minimum(np.searchsorted(held, wanted), len(held) - 1)]
    return np.asarray(found != wanted)


def add_rows(folder: Path, names: Sequence[str], rows: bytes) -> str:
    """Write the rows of images of these names; returns the name of the file. OSError if it cannot be written."""
    path = folder / f"{_digest(chr(0).join(names)).hex()}.parquet"
    write_file(path, rows)
    return path.name


def look(folder: Path, name: str) -> Held:
    """The images that have rows in a folder, whose files have their names in the column of that name."""
    from pyarrow import parquet

    paths, parts, bad = sorted(folder.glob("*.parquet")), [np.empty(0, f"S{_BYTES}")], [0]
    for path in paths:
        table = parquet.read_table(path, columns=[name, "error"])
        parts.append(digests(dict.fromkeys(table[name].to_pylist())))
        bad.append(len(table) - table["error"].null_count)
    names = np.concatenate(parts)
    order = np.argsort(names, kind="stable")
    again = order[1:][names[order[1:]] == names[order[:-1]]]
    owners = np.repeat(np.arange(len(paths)), [len(part) for part in parts[1:]])
    return Held(names[order], sum(bad), [paths[i] for i in np.unique(owners[again])])


@contextmanager
def answer_folder(folder: Path, facts: Mapping[str, Any], name: str) -> Iterator[Held]:
    """The images that have rows in a folder, which the block adds to as the only one.

    Args:
        folder: made where it lacks.
        facts: what the rows depend on.
        name: the column of what images are called.

    Raises:
        ConvsmithError: it has something else in it, was begun otherwise, or another process holds it.
    """
    work = folder / _WORK
    if folder.exists() and not work.is_dir() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConvsmithError(f"{folder} holds something else", "answers go into a folder of their own", "Name another.")
    with begun(work, folder, facts):
        with errors_of(folder):
            clear_abandoned(folder)
            held = look(folder, name)
            if held.doubles:  # of a worker that outlived its driver: its images are answered anew
                for path in held.doubles:
                    path.unlink()
                held = look(folder, name)
        yield held


def keep(folder: Path, files: set[str]) -> None:
    """Remove all files of rows but these: a worker that was lost may have written more."""
    with errors_of(folder):
        for path in folder.glob("*.parquet"):
            if path.name not in files:
                path.unlink()


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=_BYTES).digest()
