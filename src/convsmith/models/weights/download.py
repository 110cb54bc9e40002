"""Files from the network: resumed, verified, and at their place only when whole."""

from __future__ import annotations

import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convsmith import system
from convsmith.errors import ConvsmithError
from convsmith.hub import OFFLINE, is_offline
from convsmith.models.weights.patience import Patience, TooLate
from convsmith.progress import ProgressCallback, no_progress
from convsmith.storage import sha256_of

logger = logging.getLogger(__name__)

_CHUNK = 1 << 18
_MAX_BYTES = 8 << 30
_TIMEOUT = 30.0


def verified(file: Path, sha256: str | None) -> Path:
    """`file`, which is here already, if it is the right one.

    Raises:
        ConvsmithError: its SHA-256 does not begin with `sha256`; or without one, it is not a whole torch checkpoint.
    """
    if reason := _damage(file, sha256):
        raise ConvsmithError(
            f"{file} is not the published file",
            reason,
            "Remove it, or give its path where the weights are named if it is the one you want.",
        )
    return file


def download(
    url: str,
    file: Path,
    sha256: str | None,
    progress: ProgressCallback = no_progress,
    *,
    timeout: float = _TIMEOUT,
    within: float | None = None,
    max_bytes: int = _MAX_BYTES,
) -> Path:
    """Fetch `url` to `file`, unless it is there already, and return `file`.

    What arrives goes to `file` + `.part`, where a later call resumes, and gets its name once its checksum is right.
    One of several processes that want the same file fetches it while the others wait. A server that is busy or broken
    is asked again, later each time, or when it says.

    Args:
        url: an http or https address.
        file: where it belongs; its folder is made.
        sha256: the file's SHA-256, or the first digits of it; None where none is published: then it has to be a torch
            checkpoint of the length that the server announced, whose archive's own checksums hold, or, of before torch
            1.6, that can be read to its end.
        progress: called with the file's name, the bytes that are here, and those of the whole file if the server says.
        timeout: seconds for which the server may be silent.
        within: seconds that all may take, waits and further tries included; None: as long as it gets on.
        max_bytes: a file larger than this is refused.

    Raises:
        ConvsmithError: no network, or none to be used, refused, silent, cut off, too late, too large or not the right
            file; it says what to do.
    """
    if file.is_file():
        return verified(file, sha256)
    if is_offline():
        raise ConvsmithError(f"{file.name} is not here", OFFLINE, f"Get {url} by other means and put it at {file}")
    part = file.with_name(f"{file.name}.part")
    patience = Patience(timeout, within)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(file.with_name(f"{file.name}.lock"), patience):
            if file.is_file():
                return file
            _fetch(url, part, sha256, progress=progress, patience=patience, max_bytes=max_bytes)
            part.replace(file)
            system.flush(file.parent)
    except TooLate as error:
        raise _failed(url, file, f"it was not all here within {within:g} seconds", part) from error
    except urllib.error.HTTPError as error:
        raise _failed(url, file, f"the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _failed(url, file, f"the server was silent for {timeout:g} seconds", part) from error
    except urllib.error.URLError as error:
        late = isinstance(error.reason, TimeoutError)
        reason = f"no answer within {timeout:g} seconds" if late else f"no connection ({error.reason})"
        raise _failed(url, file, reason, part) from error
    except (http.client.HTTPException, ConnectionError) as error:
        raise _failed(url, file, f"the connection broke ({type(error).__name__})", part) from error
    except _BadContent as error:
        raise _failed(url, file, str(error), part) from error
    except OSError as error:
        raise ConvsmithError(
            f"cannot write {file}", error.strerror or str(error), "CONVSMITH_CACHE can name another folder."
        ) from error
    return file


class _BadContent(Exception):
    """The server sent something else than was asked for."""


def _fetch(
    url: str, part: Path, sha256: str | None, *, progress: ProgressCallback, patience: Patience, max_bytes: int
) -> None:
    """Complete `part`, or raise; a part that cannot become the right file is removed."""
    resumed = _size(part) > 0
    if resumed and sha256 and _damage(part, sha256) is None:
        return
    try:
        _receive(url, part, progress, patience, max_bytes)
        reason = _damage(part, sha256)
    except urllib.error.HTTPError as error:
        if not (resumed and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        reason = "it is not longer than what is here"
    if reason is None:
        return
    part.unlink()
    if not resumed:
        raise _BadContent(reason)
    logger.warning("what was left of an earlier download does not belong to %s: starting over", url)
    _fetch(url, part, sha256, progress=progress, patience=patience, max_bytes=max_bytes)


def _damage(file: Path, sha256: str | None) -> str | None:
    """Why `file` is not the one with that SHA-256, or without one, no whole torch checkpoint; None if it is."""
    if sha256:
        found = sha256_of(file)
        if found.startswith(sha256):
            return None
        return f"its SHA-256 is {found}, which does not begin with {sha256}: it is another file"
    with file.open("rb") as opened:
        first = opened.read(1)
    if first == b"\x80":  # a pickle, as torch wrote before 1.6: nothing but reading it shows that it ends
        return _damage_of_pickle(file)
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception:  # zipfile raises many types on damaged archives
        return "it is not a whole torch checkpoint"
    return f"its part {damaged} is damaged" if damaged else None


def _damage_of_pickle(file: Path) -> str | None:
    from convsmith.models.weights.torch_file import load_torch_file  # which needs torch

    try:
        load_torch_file(file)
    except ConvsmithError as error:
        return f"it is not a whole torch checkpoint: {error.why}"
    return None


def _receive(url: str, part: Path, progress: ProgressCallback, patience: Patience, max_bytes: int) -> None:
    """Append to `part` what it lacks; a server that knows no ranges sends the whole file again."""
    request = urllib.request.Request(url, headers={"User-Agent": "convsmith"})
    if start := _size(part):
        request.add_header("Range", f"bytes={start}-")
    with patience.open(request) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0
        elif not re.match(rf"bytes {start}-", response.headers.get("Content-Range", "")):
            part.unlink()
            raise _BadContent("the server sent another range of the file than was asked for")
        total = None if response.length is None else start + response.length
        if total is not None and total > max_bytes:
            raise _BadContent(f"it has {total:,} bytes, more than the limit of {max_bytes:,}")
        with part.open("r+b" if start else "wb") as file:
            done = file.seek(start)
            progress(part.stem, done, total)
            for chunk in _chunks(response, patience):
                done += len(chunk)
                if done > max_bytes:
                    part.unlink()
                    raise _BadContent(f"it has more bytes than the limit of {max_bytes:,}")
                file.write(chunk)
                progress(part.stem, done, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and done < total:
        raise _BadContent(f"the connection ended after {done:,} of {total:,} bytes")


def _chunks(response: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
            patience.left(0)
    except TimeoutError:
        patience.left(0)
        raise
    except OSError as error:  # apart from those of writing the file
        raise ConnectionError(str(error)) from error


@contextmanager
def _only_one(lock: Path, patience: Patience) -> Iterator[None]:
    """Let one process (and thread) in at a time; the lock ends with its holder, however that ends."""
    with lock.open("w") as file:
        waited = False
        while True:
            try:
                system.lock(file.fileno())
                break
            except BlockingIOError:
                if not waited:
                    logger.info("another process downloads %s: waiting for it", lock.with_suffix("").name)
                waited = True
            time.sleep(patience.left(0.1))
        yield


def _failed(url: str, file: Path, reason: str, part: Path | None = None) -> ConvsmithError:
    have = _size(part) if part else 0
    again = f"Run it again to go on at byte {have:,}, or get" if have else "Get"
    return ConvsmithError(f"cannot download {url}", reason, f"{again} the file by other means and put it at {file}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
