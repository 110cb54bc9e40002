"""A file that is opened late, so that many can be handed over before the first one is read."""

from __future__ import annotations

import io
from typing import IO

from convsmith.data.contents import Content


class Stream(io.RawIOBase):
    """A binary file that is opened when it is read from, and closed at its end; it cannot be wound back.

    Args:
        content: what it reads.
    """

    def __init__(self, content: Content) -> None:
        self.name = content.name
        self._open = content.open
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, or all of them. OSError where it cannot be opened."""
        self._file = self._file or self._open()
        content = self._file.read(size)
        if not content or size < 0:
            self._file.close()
        return content

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._file:
            self._file.close()
        super().close()
