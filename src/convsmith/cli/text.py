"""Standard output and error in any encoding."""

from __future__ import annotations

import codecs
import io
import sys


def escape_what_cannot_be_printed() -> None:
    """Let characters that standard output or error has no bytes for be written as escapes, instead of ending us.

    Undecodable bytes of file names go out as they came in where the stream would let them.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            kept = {"strict": "backslashreplace", "surrogateescape": _ESCAPES}
            stream.reconfigure(errors=kept.get(stream.errors or "", stream.errors))


_ESCAPES = "convsmith.escapes"


def _escapes(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    try:
        return text.encode(error.encoding, "surrogateescape"), error.end
    except UnicodeEncodeError:
        return text.encode(error.encoding, "backslashreplace"), error.end


codecs.register_error(_ESCAPES, _escapes)
