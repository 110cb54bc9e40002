"""Files that survive: written beside their place, flushed to the disk, then renamed; sealed by checksums."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from convsmith.system import FOLDERS_OPEN, flush, lock
from convsmith.waiting import open_file

TEMPORARY = ".convsmith-new."
"""How the names of unfinished files and folders begin."""

_REPLACED = ".convsmith-old."


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal text."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with one more key, `checksum`, over all the others."""
    return {**values, "checksum": _checksum(values)}


def seal_holds(values: Mapping[str, Any]) -> bool:
    """Whether `values` still are what `sealed` returned."""
    return values.get("checksum") == _checksum({k: v for k, v in values.items() if k != "checksum"})


def _checksum(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Let an OSError of the block name the file where the system does not, as of writing to an open one."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Replace a file at once: readers see the old content or the new, also after a crash.

    Its mode is that of any new file, as the umask has it.

    Raises:
        OSError: it cannot be written, and is as it was; the error names it.
    """
    with new_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` when the block ends without an error, as of `write_file`."""
    temporary = _temporary_for(path)
    try:
        with temporary.open("xb") as file:
            hold(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise
    with errors_name(path):
        flush(path.parent)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of `path` when the block ends without an error.

    Everything in it is on the disk before it is renamed, and readable as the umask has it. What stood at `path`
    is removed only then, and stays there on an error. What a process that died has left of the same path is cleared, or
    put back, at the beginning. Where `path` is a symbolic link, what it leads to is replaced.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers_of(path)
    temporary = _temporary_for(path)
    temporary.mkdir()
    try:
        with _locked(temporary):
            yield temporary
            readable = temporary.stat().st_mode & 0o666
            for file in temporary.rglob("*"):
                if file.is_file():
                    file.chmod(file.stat().st_mode | readable)  # safetensors makes files for their owner alone
                flush(file)
            flush(temporary)
            if path.exists():
                _change_places(temporary, path)
            else:
                temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a folder at once: it is there whole or not at all, also after a crash. OSError if it cannot be."""
    gone = _temporary_for(path)
    path.replace(gone)
    flush(path.parent)
    shutil.rmtree(gone, ignore_errors=True)  # a later `clear_abandoned` removes what is left


def _temporary_for(path: Path) -> Path:
    return path.with_name(f"{temporary_prefix(path)}{uuid4().hex}")


def temporary_prefix(path: Path) -> str:
    """How the temporary names of a path begin."""
    return f"{TEMPORARY}{_short_name(path)}."


def _short_name(path: Path) -> str:
    """The name, or the digest of a long one: what is put before and behind must leave 255 bytes at most."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= 200 else hashlib.sha256(name).hexdigest()


def _replaced_of(path: Path) -> Path:
    """Where what stood at `path` waits until it is removed."""
    return path.with_name(_REPLACED + _short_name(path))


def _change_places(new: Path, path: Path) -> None:
    """Put `new` at `path` and remove what was there; an error leaves the old folder at `path`."""
    if _exchange(new, path):
        shutil.rmtree(new, ignore_errors=True)  # a later call clears what cannot be removed now
        return
    old = _replaced_of(path)
    shutil.rmtree(old, ignore_errors=True)
    path.replace(old)
    try:
        new.replace(path)
    except BaseException:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step, and whether the system and the file system can (Linux; see renameat2(2))."""
    at_working_directory, exchange = -100, 2
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = (at_working_directory, os.fsencode(one), at_working_directory, os.fsencode(other))
    return bool(renameat2(*names, ctypes.c_uint(exchange)) == 0)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder in the block, and whether that is so: False where another process holds it, or nothing can."""
    if folder.is_dir() and not FOLDERS_OPEN:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield hold(descriptor)
    finally:
        os.close(descriptor)


def hold(descriptor: int) -> bool:
    """Hold an open file or folder until it is closed. Returns whether that is so."""
    try:
        return lock(descriptor)
    except OSError:
        return False


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Hold a file, which is made where it lacks, in the block; other processes that want it wait.

    Where files cannot be locked, or this one cannot be made, nothing waits.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError:
        yield
        return
    with file:
        with suppress(OSError):
            lock(file.fileno(), wait=True)
        yield


def size_of_text(text: str) -> int | None:
    """The bytes that a text such as 300MB or 1GiB means; None where it means none."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) *([kmgt]?)(i?)b?", text.strip().lower())
    if match is None:
        return None
    unit = (1024 if match[3] else 1000) ** " kmgt".index(match[2] or " ")
    return int(float(match[1]) * unit) or None


def _clear_leftovers_of(path: Path) -> None:
    """Clear what dead processes left half done of one path, or put it back; what others are writing stays."""
    old = _replaced_of(path)
    if old.exists() and not path.exists():
        old.replace(path)
    shutil.rmtree(old, ignore_errors=True)
    clear_abandoned(path.parent, temporary_prefix(path))


def clear_abandoned(folder: Path, prefix: str = TEMPORARY) -> None:
    """Remove unfinished files and folders in `folder` whose writers have died; what others are writing stays."""
    for left in folder.iterdir():
        if left.name.startswith(prefix) and not left.is_symlink():
            with suppress(OSError), _locked(left) as abandoned:
                if abandoned and left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                elif abandoned:
                    left.unlink()


def beside(path: Path, ending: str) -> Path:
    """`path` with `ending` after its name; also of `.` and `..`, which have none of their own."""
    named = path if path.name not in ("", "..") else path.resolve()
    return named.with_name(named.name + ending)


def point_to(link: Path, target: str) -> None:
    """Make `link` a symbolic link to the sibling `target`, at once; a folder in its place, as copying leaves it, goes.

    On a file system without links there is none afterwards.
    """
    temporary = link.with_name(TEMPORARY + link.name)
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    if temporary.is_symlink():
        temporary.replace(link)
    flush(link.parent)


def clear_leftovers(folder: Path) -> None:
    """Undo what a process that died left half done in `folder`. No other process may be writing there."""
    for old in folder.glob(f"{_REPLACED}*"):
        place = old.with_name(old.name.removeprefix(_REPLACED))
        if place.exists():
            shutil.rmtree(old)
        else:
            old.replace(place)
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
