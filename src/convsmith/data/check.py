"""Finding files that cannot be decoded before a training step is spent on them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from convsmith.bundle.decode import ImageError, check_header, read_image
from convsmith.bundle.runtime import available_cores
from convsmith.data.index import Index, printable

DECODE_LIMIT = 2**30
_CHUNK = 64


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be decoded.

    Attributes:
        path: the file, as printable text.
        reason: why, in a few words.
    """

    path: str
    reason: str


def check_files(index: Index, progress: Callable[[int, int], bool] | None = None) -> list[BadFile]:
    """Look at every file: decode it if all of them have at most 1 GiB, else read its header.

    Args:
        index: the files.
        progress: is told (files done, files in all) now and then, in this thread; answers whether to go on.

    Returns:
        The bad files, in the order of the index.
    """
    decode = _total_size_is_at_most(DECODE_LIMIT, index)
    look: Callable[[Path], object] = read_image if decode else check_header
    # Decoding keeps the cores busy; headers wait for the disk or the network.
    threads = available_cores() if decode else 32

    def check_chunk(first: int) -> list[BadFile]:
        found = []
        for i in range(first, min(first + _CHUNK, len(index))):
            path = index.path(i)
            if reason := _reason(look, path):
                found.append(BadFile(printable(path), reason))
        return found

    bad: list[BadFile] = []
    starts = range(0, len(index), _CHUNK)
    pool = ThreadPoolExecutor(threads)
    try:
        for first, found in zip(starts, pool.map(check_chunk, starts), strict=True):
            bad += found
            if progress and not progress(min(first + _CHUNK, len(index)), len(index)):
                break
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, do not first look at all the rest
    return bad


def _total_size_is_at_most(limit: int, index: Index) -> bool:
    total = 0
    for i in range(len(index)):
        with suppress(OSError):  # a missing file is reported when it is read
            total += index.path(i).stat().st_size
        if total > limit:
            return False
    return True


def _reason(look: Callable[[Path], object], path: Path) -> str | None:
    """Why the file is no image that can be read, as far as `look` looks; None if it finds nothing."""
    try:
        look(path)
    except ImageError as error:
        return error.why
    return None
