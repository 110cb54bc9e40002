"""Files that survive: written beside their place, flushed to the disk, then renamed; sealed by checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TEMPORARY = ".convsmith-new."
_REPLACED = ".convsmith-old."


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal text."""
    with path.open("rb") as file:
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


def write_file(path: Path, content: str | bytes) -> None:
    """Replace a file at once: readers see the old content or the new, also after a crash."""
    data = content.encode() if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(prefix=f"{_TEMPORARY}{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _flush(path.parent)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of `path` when the block ends without an error.

    Everything in it is on the disk before it is renamed. What stood at `path` is removed only then; `clear_leftovers`
    puts it back if the process dies between the two. Of a symbolic link, what it leads to is replaced.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{path.name}.", dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        for file in temporary.rglob("*"):
            _flush(file)
        _flush(temporary)
        if path.exists():
            old = path.with_name(_REPLACED + path.name)
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _flush(path.parent)


def beside(path: Path, ending: str) -> Path:
    """`path` with `ending` after its name; also of `.` and `..`, which have none of their own."""
    named = path if path.name not in ("", "..") else path.resolve()
    return named.with_name(named.name + ending)


def point_to(link: Path, target: str) -> None:
    """Make `link` a symbolic link to the sibling `target`, at once."""
    temporary = link.with_name(_TEMPORARY + link.name)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    _flush(link.parent)


def clear_leftovers(folder: Path) -> None:
    """Undo what a process that died left half done in `folder`. No other process may be writing there."""
    for old in folder.glob(f"{_REPLACED}*"):
        place = old.with_name(old.name.removeprefix(_REPLACED))
        if place.exists():
            shutil.rmtree(old)
        else:
            old.replace(place)
    for path in folder.glob(f"{_TEMPORARY}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
