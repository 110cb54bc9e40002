"""Looking at every sample before a training step is spent on one."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.data.checks.look import PIXELS, ROW, Looks, look_at
from convsmith.data.checks.prints import PRINT
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.loading.processes import in_processes
from convsmith.errors import printable
from convsmith.machine import available_cores
from convsmith.progress import ProgressCallback, no_progress
from convsmith.spec import RGB, Bands, Preprocessing
from convsmith.waiting import reading_in_time

DECODE_LIMIT = 2**30
_DECODED_AT_ONCE, _OPENED_AT_ONCE = 64, 512  # files that a process is asked about in one question
_FILES_OF_A_PROCESS, _BYTES_OF_A_PROCESS = 2000, 2**25  # less work than this is done before a process has started

NOTHING = Looks(np.empty(0, ROW), np.empty(0, PIXELS), {})


@dataclass(frozen=True)
class BadFile:
    """A sample that cannot be read.

    Attributes:
        path: what it is called, such as the path of its image, as printable text.
        reason: why, in a few words.
        fix: what to do about it, where it is known.
    """

    path: str
    reason: str
    fix: str = ""

    @classmethod
    def of(cls, name: str, error: ImageError) -> BadFile:
        """The sample of that name, and what reading it raised."""
        return cls(printable(name), error.why, error.fix)

    @property
    def told(self) -> str:
        """The reason, and what to do, in one line."""
        return f"{self.reason}. {self.fix}" if self.fix else self.reason


def check_files(samples: Samples) -> list[BadFile]:
    """The samples that cannot be used, in order: decoded if all have at most 1 GiB, else as far as headers tell."""
    return bad_files_of(samples, look(samples, decodes(samples)))


def bad_files_of(samples: Samples, looks: Looks) -> list[BadFile]:
    """The samples that a look at them found bad, in their order."""
    return [BadFile.of(samples.name(i), error) for i, error in sorted(looks.bad.items())]


def decodes(*parts: Samples) -> bool:
    """Whether all files together are few enough to be decoded: at most 1 GiB."""
    return sum(int(part.stats[:, :, 0].sum()) for part in parts) <= DECODE_LIMIT


def look(
    samples: Samples,
    decode: bool,
    known: Looks = NOTHING,
    processes: int | None = None,
    *,
    with_prints: bool = False,
    bands: Bands = RGB,
    progress: ProgressCallback = no_progress,
    stopping: Callable[[], bool] = lambda: False,
) -> Looks:
    """Look at every sample that is not known, in several processes where that is faster.

    Args:
        samples: what to look at.
        decode: read all of each file, or headers and masks only.
        known: what an earlier look, as deep, told; it counts for files of the same name, size and time.
        processes: how many there may be; None: one for each core.
        with_prints: take the print of each image too; what is known has to have them, and `decode` has to be true.
        bands: what is read of each image.
        progress: called with how many samples are done, of how many, as work of the name `check`.
        stopping: asked after each part whether to leave it at that.

    Returns:
        What is known of each sample; of one that was not looked at, nothing.
    """
    rows = np.zeros(len(samples), ROW)
    rows["name"], rows["stamp"] = samples.names, _stamps(samples.stats)
    places, new = _take_over(known.rows, rows)
    prints = np.zeros(len(samples) if with_prints else 0, PRINT)
    if with_prints and not new.all():
        prints[~new] = known.prints[places[~new]]
    pixels = [known.pixels[np.isin(known.pixels["name"], rows["name"][~new])]]
    bad: dict[int, ImageError] = {}
    todo = np.flatnonzero(new)
    at_once = _DECODED_AT_ONCE if decode else _OPENED_AT_ONCE
    chunks = [todo[first : first + at_once] for first in range(0, len(todo), at_once)]
    done = len(samples) - len(todo)
    question = _Question(samples, decode, rows, with_prints, bands)
    with closing(_looks(question, chunks, processes or available_cores())) as found:
        for chunk, looks in zip(chunks, found, strict=True):
            rows[chunk] = looks.rows
            prints[chunk if with_prints else []] = looks.prints
            pixels.append(looks.pixels)
            bad |= {int(chunk[i]): error for i, error in looks.bad.items()}
            done += len(chunk)
            progress("check", done, len(samples))
            if stopping():
                break
    return Looks(rows, np.concatenate(pixels), bad, prints)


def mark_too_large(dataset: DataSet, preprocess: Preprocessing, val: Looks) -> None:
    """Add to the bad ones the validation samples that are too large to be judged by."""
    sizes = np.stack([val.rows["height"], val.rows["width"]], axis=1)
    for height, width in np.unique(sizes[sizes[:, 0] > 0], axis=0).tolist():
        try:
            dataset.check_val_size(height, width, preprocess)
        except ImageTooLarge as error:
            val.bad.update(dict.fromkeys(np.flatnonzero((sizes == (height, width)).all(axis=1)).tolist(), error))


def joined(*parts: Looks) -> Looks:
    """The looks at several samples as one."""
    parts = (*parts, NOTHING)  # of no parts, too
    starts = np.cumsum([0, *(len(part.rows) for part in parts)])
    return Looks(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        {int(start) + i: error for start, part in zip(starts, parts, strict=False) for i, error in part.bad.items()},
        np.concatenate([part.prints for part in parts]),
    )


@dataclass(frozen=True)
class _Question:
    samples: Samples
    decode: bool
    rows: NDArray[np.void]
    with_prints: bool
    bands: Bands

    def about(self, chunk: NDArray[np.int64]) -> tuple[Samples, bool, NDArray[np.void], bool, Bands]:
        """The arguments of `look_at` for some of the samples."""
        return self.samples.select(chunk), self.decode, self.rows[chunk], self.with_prints, self.bands


def _looks(question: _Question, chunks: list[NDArray[np.int64]], most: int) -> Generator[Looks]:
    samples, total = question.samples, sum(map(len, chunks))
    size = int(samples.stats[:, :, 0].sum()) * total // max(1, len(samples)) if question.decode else 0
    processes = min(most, len(chunks), max(total // _FILES_OF_A_PROCESS, size // _BYTES_OF_A_PROCESS))
    if processes > 1:
        yield from in_processes(look_at, chunks, question.about, processes)
    else:
        for chunk in chunks:
            yield reading_in_time(partial(look_at, *question.about(chunk)))


def _stamps(stats: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of sizes and times `[N, F, 2]` of each sample, `[N]`."""
    flat = stats.reshape(len(stats), math.prod(stats.shape[1:])).astype(np.uint64)
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64)
    stamps: NDArray[np.uint64] = (flat * factors[: flat.shape[1]]).sum(axis=1, dtype=np.uint64)
    return stamps


def positions_of_changed(before: Looks, now: Looks) -> list[int]:
    """Which samples that are good now were good before under the same name, with another content."""
    places, found = _places(before.rows, now.rows)
    other = (before.rows["content"][places] != now.rows["content"]).any(axis=1) if len(before.rows) else found
    return np.flatnonzero(found & other & (now.rows["height"] > 0)).tolist()


def _take_over(known: NDArray[np.void], rows: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Fill in what is known of files that have not changed; where that is, and which ones are new."""
    places, same = _places(known, rows)
    same &= known["stamp"][places] == rows["stamp"] if len(known) else False
    rows[same] = known[places[same]]
    return places, ~same


def _places(known: NDArray[np.void], rows: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where in `known` the names of the rows are, and which of them are there."""
    if not len(known):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
    order = np.argsort(known["name"])
    places = order[np.searchsorted(known["name"][order], rows["name"]).clip(max=len(known) - 1)]
    return places, known["name"][places] == rows["name"]
