"""The run's own record: metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convsmith.storage import write_file
from convsmith.training.observers.base import Observer, Record


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
        write_file(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = self._path.open("a", encoding="utf-8")

    def gone_back(self, step: int, evaluated_step: int) -> None:
        """Drop the lines of what will be done again."""
        self._file.close()
        self._open(step, evaluated_step)

    def metrics(self, record: Record) -> None:
        """Append one line, visible to readers at once."""
        line = {"step": record.step, "epoch": record.epoch, "split": record.split, **record.values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def counts(split: str, recorded_step: int, step: int, evaluated_step: int) -> bool:
    """Whether a record stays when the run goes on from `step`, and the last epoch was judged at `evaluated_step`."""
    return recorded_step <= (step if split == "steps" else evaluated_step)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last one that a crash tore is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
