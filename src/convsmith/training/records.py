"""Reading metrics.jsonl; `observers/jsonl.py` writes it."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from convsmith.errors import counted

logger = logging.getLogger(__name__)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; figures that are not finite, which JSON lacks, are NaN.

    Lines that hold no record, as a crash or a power cut leaves them, are left out with a warning; the last one too.
    """
    if not path.is_file():  # a pipe would be waited for
        return []
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    lines = [] if lines == [b""] else lines
    records = [record for line in lines if (record := _record(line)) is not None]
    if len(records) < len(lines):
        damaged = counted(len(lines) - len(records), "damaged line")
        logger.warning("%s has %s, left out", path, damaged)
    return records


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None if it holds no record."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not isinstance(values.get("step"), int):
        return None
    figures = [value for key, value in values.items() if key != "split"]
    if not isinstance(values.get("split"), str) or not all(isinstance(it, int | float | None) for it in figures):
        return None
    return {key: math.nan if value is None else value for key, value in values.items()}
