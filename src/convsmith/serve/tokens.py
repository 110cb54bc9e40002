"""Bearer tokens of a file: who has one of them may ask."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from pathlib import Path

from convsmith.errors import ConvsmithError

logger = logging.getLogger(__name__)

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*")  # RFC 6750
_LARGEST = 1_000_000  # bytes of the file
_SECOND = 1.0  # between two looks at whether it has changed


class Tokens:
    """The tokens of a file, one a line; it is read again where it has changed, and stays as it was where it cannot be.

    Args:
        path: the file; empty lines, and those that begin with `#`, count for nothing.

    Raises:
        ConvsmithError: it cannot be read, or does not hold tokens.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._looked = path, time.monotonic()
        self._stamp = _stamp(path)
        self._digests = _digests(path)

    def allow(self, authorization: str) -> bool:
        """Whether the header of that name has one of the tokens; takes as long whichever it is, and whether it is."""
        self._look()
        kind, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.strip().encode()).digest()
        same = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(same) and kind.lower() == "bearer"

    def _look(self) -> None:
        if time.monotonic() < self._looked + _SECOND:
            return
        self._looked = time.monotonic()
        if (stamp := _stamp(self._path)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._digests = _digests(self._path)
        except ConvsmithError as error:
            logger.warning("the tokens stay as they were: %s, %s", error.what, error.why)


def _stamp(path: Path) -> tuple[int, ...]:
    """Numbers that are others once the file has changed; none where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _digests(path: Path) -> tuple[bytes, ...]:
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise _unreadable(path, "it is not a regular file")
        with path.open("rb") as file:
            content = file.read(_LARGEST)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    lines = [line.strip() for line in content.decode("utf-8-sig", "replace").splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise _unreadable(path, "it holds none")
    for number, line in enumerate(lines, 1):
        if line in tokens and not _TOKEN.fullmatch(line):
            raise _unreadable(path, f"line {number} is not a token of 16 to 512 letters, digits and ._~+/-")
    return tuple(hashlib.sha256(token.encode()).digest() for token in tokens)


def _unreadable(path: Path, why: str) -> ConvsmithError:
    fix = "Write one token a line, such as `openssl rand -hex 32` prints."
    return ConvsmithError(f"cannot read the tokens of {path}", why, fix)
