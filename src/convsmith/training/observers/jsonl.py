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
        lines = read_records(path)
        kept = [line for line in lines if line["step"] <= (step if line["split"] == "steps" else evaluated_step)]
        write_file(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def metrics(self, record: Record) -> None:
        """Append one line, visible to readers at once."""
        line = {"step": record.step, "epoch": record.epoch, "split": record.split, **record.values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last one that a crash tore is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
