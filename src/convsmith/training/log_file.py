"""The run's log.txt."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convsmith.errors import ConvsmithError


@contextmanager
def log_file(run_dir: Path) -> Iterator[None]:
    """Let the package's messages also go to the run's log.txt, with the time."""
    package = logging.getLogger("convsmith")
    handler = _LogFile(run_dir / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    except ConvsmithError as error:
        handler.handle(package.makeRecord(package.name, logging.ERROR, "", 0, "%s", (str(error),), None))
        raise
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        with suppress(OSError):  # as above
            handler.close()


@contextmanager
def silence() -> Iterator[None]:
    """Let the package say nothing, because somebody else says it, or the same comes again."""
    package = logging.getLogger("convsmith")
    level = package.level
    package.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        package.setLevel(level)


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Leave it to what matters more than this file to say that the disk is full."""
