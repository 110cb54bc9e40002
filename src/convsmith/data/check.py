"""Finding files that cannot be decoded before a training step is spent on them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from convsmith.bundle.decode import ImageError
from convsmith.bundle.runtime import available_cores
from convsmith.data.dataset import Samples
from convsmith.data.index import printable

DECODE_LIMIT = 2**30
_CHUNK = 64


@dataclass(frozen=True)
class BadFile:
    """A sample that cannot be read.

    Attributes:
        path: the file that names it, as printable text.
        reason: why, in a few words.
        fix: what to do about it, where it is known.
    """

    path: str
    reason: str
    fix: str = ""

    @classmethod
    def of(cls, path: Path, error: ImageError) -> BadFile:
        """The sample that the file names, and what reading it raised."""
        return cls(printable(path), error.why, error.fix)

    @property
    def told(self) -> str:
        """The reason, and what to do, in one line."""
        return f"{self.reason}. {self.fix}" if self.fix else self.reason


def check_files(
    samples: Samples, progress: Callable[[int, int], bool] | None = None, rank: int = 0, world_size: int = 1
) -> list[BadFile]:
    """Look at every sample: decode its files if all of them have at most 1 GiB, else read their headers.

    Args:
        samples: what to look at.
        progress: is told (samples done, samples of this share) now and then, in this thread; answers whether to go on.
        rank: of several processes, each looks at its share: the ranks' answers in a row are the answer for all.
        world_size: how many processes there are.

    Returns:
        The bad ones, in their order.
    """
    decode = _total_size_is_at_most(DECODE_LIMIT, samples)
    # Decoding keeps the cores busy; headers wait for the disk or the network.
    threads = available_cores() if decode else 32

    begin, end = (len(samples) * share // world_size for share in (rank, rank + 1))

    def check_chunk(first: int) -> list[BadFile]:
        found = []
        for i in range(first, min(first + _CHUNK, end)):
            try:
                samples.check(i, decode)
            except ImageError as error:
                found.append(BadFile.of(samples.files(i)[0], error))
        return found

    bad: list[BadFile] = []
    starts = range(begin, end, _CHUNK)
    pool = ThreadPoolExecutor(threads)
    try:
        for first, found in zip(starts, pool.map(check_chunk, starts), strict=True):
            bad += found
            if progress and not progress(min(first + _CHUNK, end) - begin, end - begin):
                break
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, do not first look at all the rest
    return bad


def _total_size_is_at_most(limit: int, samples: Samples) -> bool:
    total = 0
    for i in range(len(samples)):
        for path in samples.files(i):
            with suppress(OSError):  # a missing file is reported when it is read
                total += path.stat().st_size
        if total > limit:
            return False
    return True
