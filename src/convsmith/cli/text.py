"""Text of files and bundles, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line, without characters that steer a terminal; undecodable bytes of file names are kept."""
    return "".join(
        c if c.isprintable() or "\udc80" <= c <= "\udcff" else c.encode("unicode_escape").decode() for c in text
    )
