"""Predictions in a file, a row for each image: CSV, JSON Lines or Parquet, as its name ends. Needs no torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from convsmith.errors import ConvsmithError, of_system, require_extra
from convsmith.storage import new_file

SCORES = "scores"
"""The column with the scores of all classes, by label."""

_MOST_COLUMNS = 256  # of scores in CSV; of more classes the highest few are in one cell
_HIGHEST = 5
_AT_ONCE = 512  # rows of Parquet in memory

_Values = Mapping[str, Any]


def check_file(path: Path, data: Path) -> None:
    """Raise a ConvsmithError unless `write_rows` can write such a file here, and it is none of the data."""
    _check_ending(path)
    if path.resolve().is_relative_to(data.resolve()):
        raise ConvsmithError(
            f"{path} lies in the data that are judged", "what is written there would be taken for data",
            "Choose a file elsewhere.",
        )  # fmt: skip


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in _WRITERS:
        raise ConvsmithError(
            f"{path} does not say what to write", f"rows are written to {', '.join(_WRITERS)}", "Name it so."
        )
    if path.suffix.lower() == ".parquet":
        import_pyarrow()


def write_rows(path: Path, rows: Iterable[_Values], labels: Sequence[str]) -> None:
    """Write rows of plain values that have the same names each, and replace what is at the path when all are there.

    Values are text, numbers, truth, lists of text, or None. What is called `scores` has a number for each label: in
    JSON Lines and Parquet by label; in CSV a column `score LABEL` for each of up to 256, of more classes the highest
    five as a JSON object. Lists are joined by | in CSV.

    Raises:
        ConvsmithError: the path ends in what is not known, pyarrow is missing, or the file cannot be written.
    """
    _check_ending(path)
    try:
        with new_file(path) as file:
            _WRITERS[path.suffix.lower()](file, rows, labels)
    except OSError as error:
        raise of_system(error, f"{path} cannot be written") from error


def _write_csv(file: IO[bytes], rows: Iterable[_Values], labels: Sequence[str]) -> None:
    with _as_text(file) as text:
        writer = csv.writer(text, lineterminator="\n")
        for number, row in enumerate(rows):
            flat = dict(_flat(row, labels))
            if not number:
                writer.writerow(flat)
            writer.writerow(flat.values())


def _flat(row: _Values, labels: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The cells of a row of CSV by their titles."""
    for name, value in row.items():
        if name == SCORES and len(labels) <= _MOST_COLUMNS:
            scores = [""] * len(labels) if value is None else value
            yield from ((f"score {label}", score) for label, score in zip(labels, scores, strict=True))
        elif name == SCORES:
            highest = sorted(zip(value or (), labels, strict=False), reverse=True)[:_HIGHEST]
            yield name, json.dumps({label: score for score, label in highest}, ensure_ascii=False) if value else ""
        elif isinstance(value, list):
            yield name, "|".join(map(str, value))
        else:
            yield name, str(value).lower() if isinstance(value, bool) else value


def _write_jsonl(file: IO[bytes], rows: Iterable[_Values], labels: Sequence[str]) -> None:
    with _as_text(file) as text:
        for row in rows:
            text.write(json.dumps(_by_label(row, labels), allow_nan=False) + "\n")


def _write_parquet(file: IO[bytes], rows: Iterable[_Values], labels: Sequence[str]) -> None:
    pa = import_pyarrow()
    import pyarrow.parquet as parquet

    of_rows = (_by_label(row, labels) for row in rows)
    first = next(of_rows, {})
    scores = pa.struct([(label, pa.float32()) for label in labels])
    types = {bool: pa.bool_(), int: pa.int64(), str: pa.string(), list: pa.list_(pa.string()), dict: scores}
    schema = pa.schema([(name, types.get(type(value), pa.float64())) for name, value in first.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        every = chain([first] if first else [], of_rows)
        while part := list(islice(every, _AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(part, schema))


_WRITERS: dict[str, Callable[[IO[bytes], Iterable[_Values], Sequence[str]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}


def _by_label(row: _Values, labels: Sequence[str]) -> dict[str, Any]:
    scores = row.get(SCORES)
    return dict(row) if scores is None else {**row, SCORES: dict(zip(labels, scores, strict=True))}


@contextmanager
def _as_text(file: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    """The file for text; names of files may hold bytes that are not UTF-8, which are written as escapes."""
    text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
    yield text
    text.detach()


def import_pyarrow() -> Any:
    """The package that writes Parquet, or a ConvsmithError that says how to install it."""
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise require_extra("pyarrow", "a Parquet file") from error
    return pyarrow
