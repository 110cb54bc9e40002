"""Shards that lie elsewhere (`s3://`, `gs://`, `hf://`, `http://`): copied by fsspec into a cache of bounded size."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar
from uuid import uuid4

from convsmith.errors import ConvsmithError, of_system, printable, require_extra
from convsmith.machine import cache_folder
from convsmith.storage import TEMPORARY, clear_abandoned, hold, locked_file, size_of_text
from convsmith.waiting import NotAnswering, answer_of, open_file

BOUND_VARIABLE = "CONVSMITH_REMOTE_CACHE"
_BOUND = "50GB"
_URL = re.compile(r"(https?|s3|s3a|gs|gcs|hf|az|abfss?|memory):/+(.+)")
_PACKAGES = {
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    "hf": "huggingface_hub",
}
"""The package that fsspec needs for each kind of address; all of them are in the extra."""

_VERSIONS = [
    "ETag",
    "etag",
    "md5Hash",
    "md5",
    "blob_id",
    "oid",
    "sha",
    "LastModified",
    "last_modified",
    "Last-Modified",
    "mtime",
    "created",
]
_CHUNK = 2**22
_ASKED_AT_ONCE = 16
_TRIES, _PAUSE = 4, 1.0  # seconds, doubled with each try

T = TypeVar("T")


class RemoteFile(NamedTuple):
    """A file elsewhere, as it was when it was asked for: its address, bytes, and a time that names its version."""

    url: str
    size: int
    stamp: int


def url_of(given: Path) -> str | None:
    """The address that a path is, whose slashes it has lost; None for paths of this machine."""
    match = _URL.fullmatch(given.as_posix())
    return f"{match[1]}://{match[2]}" if match else None


def place_of(url: str) -> Path:
    """Where the copy of a file is kept."""
    scheme, _, rest = url.partition("://")
    parts = [part for part in rest.split("/") if part not in ("", ".", "..")]
    return cache_folder() / "remote" / scheme / Path(*parts)


def list_files(url: str, is_wanted: Callable[[str], bool]) -> list[str]:
    """The addresses of wanted files in a folder and in the folders in it, sorted."""
    system, path = _system(url)

    def found() -> list[str]:
        top = system.ls(path, detail=True)
        below = [system.ls(it["name"], detail=True) for it in top if it["type"] == "directory" and it["name"] != path]
        names = [it["name"] for it in chain(top, *below) if it["type"] == "file"]
        return sorted({system.unstrip_protocol(name) for name in names if is_wanted(name)})

    return _tried(found, url)


def match_files(url: str) -> list[str]:
    """The addresses of files that a pattern of `*`, `?` and `[...]` means, sorted."""
    system, path = _system(url)
    return _tried(lambda: sorted(system.unstrip_protocol(name) for name in system.glob(path)), url)


def ask(urls: Sequence[str]) -> list[RemoteFile]:
    """Size and version of each file. ConvsmithError for one that is not there, or does not say its size."""
    for url in {url.partition("://")[0]: url for url in urls}.values():
        _system(url)[0].invalidate_cache()  # what was listed before may have changed
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        return list(pool.map(_ask, urls))


def _ask(url: str) -> RemoteFile:
    system, path = _system(url)
    facts = _tried(lambda: system.info(path), url)
    if not isinstance(facts.get("size"), int):
        raise ConvsmithError(f"{url} does not say how large it is", "", "Download it, and give the file.")
    version = next((str(facts[key]) for key in _VERSIONS if facts.get(key)), "")
    digest = int.from_bytes(blake2b(version.encode(), digest_size=8).digest(), "little")
    return RemoteFile(url, facts["size"], digest % 2**30 * 1_000_000_000)  # a time that every file system can keep


def read_text_file(url: str, most: int = 2**24) -> bytes | None:
    """The bytes of a small file; None if it is not there."""
    system, path = _system(url)
    if not _tried(lambda: system.exists(path), url):
        return None
    content: bytes = _tried(lambda: system.cat_file(path, end=most + 1), url)
    if len(content) > most:
        raise ConvsmithError(f"{printable(url)} has more than {most:,} bytes", "it names one class on each line")
    return content


def open_copy(file: RemoteFile) -> IO[bytes]:
    """The copy of a file, open for reading; it is made where it is not in the cache.

    Raises:
        ConvsmithError: it cannot be copied, or is another one now.
    """
    place = place_of(file.url)
    while True:
        copy(file)
        with suppress(FileNotFoundError):  # another process has made room meanwhile
            return open_file(place)


def copy(file: RemoteFile) -> Path:
    """Copy a file into the cache unless it is there, and say that it is in use. Returns where it is."""
    place = place_of(file.url)
    try:
        if not _is_there(file, place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with locked_file(place.with_name(f"{place.name}.lock")):
                if not _is_there(file, place):
                    _make_room(file.size)
                    _tried(lambda: _download(file, place), file.url)
        os.utime(place, ns=(time.time_ns(), file.stamp))
    except FileNotFoundError:
        return place
    except OSError as error:
        raise of_system(error, f"cannot keep a copy of {file.url}") from error
    return place


def _is_there(file: RemoteFile, place: Path) -> bool:
    with suppress(FileNotFoundError):
        status = place.stat()
        return (status.st_size, status.st_mtime_ns) == (file.size, file.stamp)
    return False


def _download(file: RemoteFile, place: Path) -> None:
    system, path = _system(file.url)
    streamed = {"block_size": 0} if file.url.startswith("http") else {"block_size": _CHUNK, "cache_type": "readahead"}
    temporary = place.with_name(f"{TEMPORARY}{uuid4().hex}")
    clear_abandoned(place.parent)
    try:
        with system.open(path, "rb", **streamed) as source, temporary.open("xb") as copied:
            hold(copied.fileno())
            while chunk := answer_of(lambda: source.read(_CHUNK), file.url):
                copied.write(chunk)
                if copied.tell() > file.size:
                    break
            if copied.tell() != file.size:
                raise _Changed(f"it gave {copied.tell():,} bytes, and had said {file.size:,}")
        os.utime(temporary, ns=(time.time_ns(), file.stamp))
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


class _Changed(Exception):
    """A file is not of the size that it had."""


def _make_room(size: int) -> None:
    """Remove the copies that were not used for the longest time, until there is room for one of that size."""
    told = os.environ.get(BOUND_VARIABLE) or _BOUND
    if (bound := size_of_text(told)) is None:
        raise ConvsmithError(f"{BOUND_VARIABLE} is `{told}`", "it says how much is kept", "Write it as 50GB or 300MB.")
    with locked_file(cache_folder() / "remote" / ".lock"):
        kept = []
        for path in (cache_folder() / "remote").rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.name.endswith(".lock") and not path.name.startswith(TEMPORARY):
                    kept.append((path.stat().st_atime_ns, path.stat().st_size, path))
        total = sum(it[1] for it in kept)
        for _, its, path in sorted(kept):
            if total + size <= bound:
                break
            path.unlink(missing_ok=True)
            total -= its


def _tried(work: Callable[[], T], url: str) -> T:
    """Do what may fail on a network, several times. ConvsmithError where it does not succeed."""
    for left in range(_TRIES - 1, -1, -1):
        try:
            return answer_of(work, url)
        except ConvsmithError:
            raise
        except Exception as error:  # each service has its own
            reason = error.__cause__ or error
            if isinstance(error, FileNotFoundError) and not _may_pass(reason):
                raise ConvsmithError(
                    f"there is no {printable(url)}", str(reason)[:200], "Check the address."
                ) from error
            if isinstance(error, PermissionError):
                why = "it may not be read with the rights that are known here"
                raise ConvsmithError(f"cannot read {printable(url)}", why, "Log in to that service.") from error
            if not left:
                raise _Unreachable(
                    f"cannot read {printable(url)}", f"{type(reason).__name__}: {reason}"[:300], _AGAIN
                ) from error
            time.sleep(_PAUSE * 2 ** (_TRIES - 1 - left))
    raise AssertionError


def _may_pass(reason: BaseException) -> bool:
    """Whether a file is not given because its server does not answer, or has failed."""
    is_absent = isinstance(reason, FileNotFoundError)
    return (isinstance(reason, OSError | TimeoutError) and not is_absent) or getattr(reason, "status", 0) >= 500


_AGAIN = "The same command goes on when it can be reached again."


class _Unreachable(NotAnswering):
    """A service on the network does not give what it should."""


def _system(url: str) -> tuple[Any, str]:
    """The file system of an address, made in this process, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise require_extra("fsspec", "data on a network", "remote") from error
    key = os.getpid(), url.partition("://")[0]
    try:
        if key not in _systems:
            _systems[key] = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)[0]
    except ImportError as error:
        if key[1] in _PACKAGES:
            raise require_extra(_PACKAGES[key[1]], f"data at {key[1]}://", "remote") from error
        raise ConvsmithError(f"{key[1]}:// cannot be read here", str(error), "Install what it names.") from error
    return _systems[key], _systems[key]._strip_protocol(url)


_systems: dict[tuple[int, str], Any] = {}  # a process that was forked cannot use those of its parent
