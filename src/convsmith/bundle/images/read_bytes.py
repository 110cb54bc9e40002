"""The bytes of image files: read with a bound, and never waited for without end."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.limits import MAX_BYTES, file_too_large
from convsmith.waiting import answer_of

_USUAL_BYTES = 2**20  # read() makes room for all that it may return, so the limit itself would cost a lot for each file


def read_bytes(path: Path) -> bytes:
    """The content of a file, or a pipe, of at most `MAX_BYTES` bytes.

    Raises:
        ImageError: it cannot be read.
        NotAnswering: it gives nothing for long.
    """

    def read() -> bytes:
        with path.open("rb") as file:
            return read_open(file, str(path))

    with file_errors(path):
        return answer_of(read, str(path))


def read_open(file: IO[bytes], name: str) -> bytes:
    """The rest of an open file, at most `MAX_BYTES` bytes. ImageTooLarge if there are more."""
    first = min(_expected(file), MAX_BYTES) + 1
    data = file.read(first)
    if len(data) == first <= MAX_BYTES:
        data += file.read(MAX_BYTES + 1 - first)
    if len(data) > MAX_BYTES:
        raise file_too_large(name)
    return data


def _expected(file: IO[bytes]) -> int:
    """The size of an open file, or a usual one where that is not known, as of a pipe."""
    try:
        return os.fstat(file.fileno()).st_size or _USUAL_BYTES
    except OSError:  # it is not one of the file system
        return _USUAL_BYTES


def read_stream(file: IO[bytes], name: str) -> bytes:
    """The content of an open file of at most `MAX_BYTES` bytes, from its start where it can be wound back."""
    chunks, size = [], 0
    with file_errors(name):
        if file.seekable():
            file.seek(0)
        while chunk := file.read(_USUAL_BYTES):
            if not isinstance(chunk, bytes):
                raise ImageError(f"cannot read {name}", f"it gives {type(chunk).__name__}", "Open it with mode 'rb'.")
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BYTES:
                raise file_too_large(name)
    return b"".join(chunks)


@contextmanager
def mapped(file: IO[bytes]) -> Iterator[bytes | mmap.mmap]:
    """The bytes of an open file: mapped, or read where it has no number in the file system."""
    try:
        number = file.fileno()
    except OSError:
        yield file.read()
        return
    file.read(1)  # a disk that is gone is waited for here, where other threads go on; a page of the map stops them all
    with mmap.mmap(number, 0, access=mmap.ACCESS_READ) as content:
        yield content


@contextmanager
def file_errors(path: Path | str) -> Iterator[None]:
    """Raise an `ImageError` in place of an error of the file system."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"cannot read {path}", reason.lower()) from error
