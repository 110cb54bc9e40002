"""Answers as rows of a file: CSV, JSON Lines or Parquet, as its name ends. Needs no torch."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from convsmith.analyze.write_rows import import_pyarrow
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.task import csv_columns
from convsmith.devices import Place
from convsmith.errors import ConvsmithError, printable, quoted

_PATH, _ERROR = "path", "error"
_GROUP = 2**16  # rows of a row group of Parquet


@dataclass(frozen=True)
class RowFormat:
    """How a kind of file holds answers.

    Attributes:
        rows: gives the rows of one image, from its name and the answer, or the ImageError in place of one.
        pack: makes a part of the rows of some images.
        join: makes the file of all parts, in order.
    """

    rows: Callable[[str, Any], list[Any]]
    pack: Callable[[list[Any]], bytes]
    join: Callable[[Sequence[Path], IO[bytes]], None]


def row_format(out: Path, model: Bundle[Any], top: int | None, place: Place | None) -> RowFormat:
    """How the file of a name holds the answers of a bundle.

    Args:
        out: the file.
        model: the bundle.
        top: how many classes of each image are listed; None: as many as its task has it.
        place: what ran it, which Parquet says.

    Raises:
        ConvsmithError: the name is that of no such file, or it is Parquet, and pyarrow is not installed.
    """
    if out.suffix.lower() not in _FORMATS:
        raise ConvsmithError(f"{out} does not say what to write", f"rows go into {quoted(ENDINGS)}", "Name it so.")
    return _FORMATS[out.suffix.lower()](model, top, place)


def _json_lines(model: Bundle[Any], top: int | None, _place: Place | None) -> RowFormat:
    """An object for each image, as `predict --json` prints it, or with its `error`."""

    def rows(name: str, answer: Any) -> list[str]:
        said = {_ERROR: answer.in_a_line} if isinstance(answer, ImageError) else model.task.summary(answer, top)
        return [json.dumps({_PATH: name, **said}) + "\n"]

    return RowFormat(rows, lambda lines: "".join(lines).encode(), _concatenate)


def _csv(model: Bundle[Any], top: int | None, _place: Place | None) -> RowFormat:
    columns = [_PATH, *csv_columns(model.manifest), _ERROR]

    def pack(rows: list[tuple[Any, ...]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()

    def join(parts: Sequence[Path], file: IO[bytes]) -> None:
        file.write(pack([tuple(columns)]))
        _concatenate(parts, file)

    return RowFormat(_table_rows(model, top), pack, join)


def _parquet(model: Bundle[Any], top: int | None, place: Place | None) -> RowFormat:
    pa = import_pyarrow()
    from pyarrow import parquet

    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    typed = {_PATH: str, **csv_columns(model.manifest), _ERROR: str}
    facts = {"bundle": model.manifest.checksum, "model": model.manifest.model.get("name")}
    if place is not None:
        facts |= {"runtime": place.runtime, "device": place.device}
    schema = pa.schema([(name, types[kind]) for name, kind in typed.items()], metadata={"convsmith": json.dumps(facts)})

    def pack(rows: list[tuple[Any, ...]]) -> bytes:
        columns = [[None if value == "" else value for value in column] for column in zip(*rows, strict=True)]
        content = io.BytesIO()
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), content)
        return content.getvalue()

    def join(parts: Sequence[Path], file: IO[bytes]) -> None:
        with parquet.ParquetWriter(file, schema) as writer:
            for tables in _groups(parquet.read_table(part) for part in parts):
                writer.write_table(pa.concat_tables(tables), row_group_size=_GROUP)

    return RowFormat(_table_rows(model, top), pack, join)


_FORMATS: dict[str, Callable[[Bundle[Any], int | None, Place | None], RowFormat]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
ENDINGS = tuple(_FORMATS)


def _table_rows(model: Bundle[Any], top: int | None) -> Callable[[str, Any], list[tuple[Any, ...]]]:
    """A row for each class that is listed of an image, or one with its error."""
    empty = ("",) * len(csv_columns(model.manifest))

    def rows(name: str, answer: Any) -> list[tuple[Any, ...]]:
        path = printable(name)
        if isinstance(answer, ImageError):
            return [(path, *empty, answer.in_a_line)]
        return [(path, *values, "") for values in model.task.csv_rows(answer, top)]

    return rows


def _concatenate(parts: Sequence[Path], file: IO[bytes]) -> None:
    for part in parts:
        with part.open("rb") as content:
            shutil.copyfileobj(content, file)


def _groups(tables: Iterator[Any]) -> Iterator[list[Any]]:
    """Tables together that make a row group."""
    held: list[Any] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= _GROUP:
            yield held
            held = []
    if held:
        yield held
