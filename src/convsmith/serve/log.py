"""The server's log: uvicorn's, which no flood of bad requests fills."""

from __future__ import annotations

import asyncio
import copy
import logging
from typing import Any

import uvicorn.config

from convsmith.serve.access_log import LOGGER


class Calm(logging.Filter):
    """Lets one warning or error of a kind through each second, and says how many there were besides."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[object, float] = {}
        self._held: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to print a record; a kind is what one line of code logs with one class of exception."""
        error = record.exc_info[0] if record.exc_info else None
        if error is asyncio.CancelledError:  # a request that the end of the server cut off
            return False
        if record.levelno < logging.WARNING:
            return True
        kind = record.pathname, record.lineno, error
        if record.created - self._last.get(kind, -1.0) < 1:
            self._held[kind] = self._held.get(kind, 0) + 1
            return False
        self._last[kind] = record.created
        if held := self._held.pop(kind, 0):
            record.msg, record.args = f"{record.getMessage().rstrip()} (and {held} more)", ()
        return True


def _logging() -> dict[str, Any]:
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["filters"] = {"calm": {"()": Calm}}
    config["handlers"]["default"]["filters"] = ["calm"]
    config["formatters"]["plain"] = {"format": "%(message)s"}
    config["handlers"]["requests"] = {
        "class": "logging.StreamHandler",
        "formatter": "plain",
        "stream": "ext://sys.stdout",
    }
    config["loggers"][LOGGER] = {"handlers": ["requests"], "level": "INFO", "propagate": False}
    for library in ("asyncio", "python_multipart"):
        config["loggers"][library] = {"handlers": ["default"], "level": "WARNING", "propagate": False}
    return config


LOGGING = _logging()
