"""The run's own record: metrics.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from convsmith.storage import errors_name, write_file
from convsmith.training.observers.base import Observer, Record
from convsmith.training.records import read_records


class JsonLines(Observer):
    """Appends each record as one line: step, epoch, split and the values by name.

    Args:
        path: the file.
        step: the step that the run goes on from; lines of later steps go, because those will be done again.
        evaluated_step: the last one whose epoch was judged; epochs that ended later will be judged again.
    """

    def __init__(self, path: Path, step: int, evaluated_step: int) -> None:
        self._path = path
        self._open(step, evaluated_step)

    def _open(self, step: int, evaluated_step: int) -> None:
        kept = [line for line in read_records(self._path) if counts(line["split"], line["step"], step, evaluated_step)]
        write_file(self._path, "".join(map(_line, kept)))
        self._file = self._path.open("a", encoding="utf-8")

    def roll_back(self, step: int, evaluated_step: int) -> None:
        """Drop the lines of what will be done again."""
        self.close()
        self._open(step, evaluated_step)

    def metrics(self, record: Record) -> None:
        """Append one line, visible to readers at once."""
        line = {"step": record.step, "epoch": record.epoch, "split": record.split, **record.values}
        with errors_name(self._path):
            self._file.write(_line(line))
            self._file.flush()

    def close(self) -> None:
        """Close the file; what cannot be written was reported before."""
        with suppress(OSError):
            self._file.close()


def counts(split: str, recorded_step: int, step: int, evaluated_step: int) -> bool:
    """Whether a record stays when the run goes on from `step`, and the last epoch was judged at `evaluated_step`."""
    return recorded_step <= (step if split == "steps" else evaluated_step)


def _line(values: Mapping[str, Any]) -> str:
    """A record as strict JSON: null instead of a number that is not finite."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return json.dumps(finite, allow_nan=False) + "\n"
