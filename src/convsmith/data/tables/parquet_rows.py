"""The rows of a Parquet file, a few at a time: of the file only the columns that are wanted are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convsmith.data.tables.table_rows import AT_ONCE, Row, RowBatch
from convsmith.errors import ConvsmithError, printable, require_extra


def first_parquet_row(path: Path) -> Row:
    """The first row, without columns that cannot name an image or its labels, such as bytes; empty if none is there."""
    with _opened(path) as file:
        columns = [field.name for field in file.schema_arrow if _is_plain(field.type)]
        batch = next(file.iter_batches(1, columns=columns), None)
        return {} if batch is None else next(iter(batch.to_pylist()), {})


def parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[RowBatch]:
    """All rows, numbered from 0, with these columns alone."""
    with _opened(path) as file:
        first = 0
        for batch in file.iter_batches(AT_ONCE, columns=list(columns)):
            yield RowBatch(range(first, first + batch.num_rows), batch.to_pydict())
            first += batch.num_rows


def column_kinds(path: Path) -> tuple[list[str], list[str]]:
    """The columns that hold bytes, alone or beside a path, so images and not the names of files; and the others."""
    with _opened(path) as file:
        kinds = {field.name: _is_image(field.type) for field in file.schema_arrow}
    return [name for name, of_images in kinds.items() if of_images], [name for name, it in kinds.items() if not it]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise require_extra("pyarrow", "a Parquet file") from error
    try:
        with ParquetFile(path, memory_map=True) as file:
            yield file
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # some of these are OSErrors, too
        why = str(error).partition("\n")[0]
        raise ConvsmithError(f"cannot read {printable(path)}", why, "Is it a whole Parquet file?") from error


def _is_plain(kind: Any) -> bool:
    """Whether cells of this type are text, numbers or yes and no, one or a list of them."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind):
        return not types.is_floating(kind.value_type) and _is_plain(kind.value_type)
    return not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def _is_image(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return {field.name for field in kind} == {"bytes", "path"}
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
