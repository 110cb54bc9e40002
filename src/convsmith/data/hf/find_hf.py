"""Which paths mean a data set of Hugging Face, and how the `datasets` library opens it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from convsmith.data.parts import PARTS, Part
from convsmith.data.tables.image_table import PATH
from convsmith.data.tables.parquet_rows import column_kinds
from convsmith.data.tables.table_rows import find_column
from convsmith.errors import ConvsmithError, printable, quoted, require_extra
from convsmith.hub import HUB
from convsmith.machine import cache_folder

_SAVED = ("dataset_dict.json", "dataset_info.json")  # save_to_disk writes one of them
_PARQUET = (".parquet", ".pq")
_PARTS: Mapping[str, Part] = {**PARTS, "dev": "val"}


def is_hf(given: Path) -> bool:
    """Whether a path is `hf:NAME`, a folder that was saved to disk, or Parquet, a file or a folder, with images."""
    if str(given).startswith(HUB):
        return not str(given).startswith(f"{HUB}/")  # an address of files, whose second slash is lost
    with suppress(OSError):
        if given.is_dir():
            return _is_saved(given) or any(map(_has_images, _parquet_in(given)[:1]))
        return given.suffix.lower() in _PARQUET and given.is_file() and _has_images(given)
    return False


def load(given: Path) -> tuple[dict[Part | None, Any], list[str]]:
    """The data sets of a path by their part, None where it says none, and the names of those that are left out.

    Raises:
        ConvsmithError: it cannot be opened, or no part of it is for training, validation or test.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise require_extra("datasets", "a data set of Hugging Face") from error
    datasets.disable_progress_bars()
    try:
        loaded = _load(datasets, given)
    except Exception as error:  # of many libraries: the hub's, Arrow's, the system's
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ConvsmithError(f"cannot open {printable(given)}", why, "Check its name, and that it is whole.") from error
    if not isinstance(loaded, datasets.DatasetDict):
        return {None: loaded}, []
    found: dict[Part | None, Any] = {}
    for name, dataset in loaded.items():
        part = _PARTS.get(name.casefold())
        if part is not None and part in found:
            raise ConvsmithError(f"{printable(given)} has two splits for `{part}`", f"it has {quoted(loaded)}")
        if part is not None:
            found[part] = dataset
    if not found and len(loaded) == 1:
        return {None: next(iter(loaded.values()))}, []
    if not found:
        raise ConvsmithError(
            f"{printable(given)} has no split to train on", f"it has {quoted(loaded)}", f"Known are {quoted(_PARTS)}."
        )
    return found, [name for name in loaded if name.casefold() not in _PARTS]


def _load(datasets: Any, given: Path) -> Any:
    cache = str(cache_folder() / "datasets")
    if str(given).startswith(HUB):
        name, _, config = str(given).removeprefix(HUB).partition(":")
        return datasets.load_dataset(name, config or None, cache_dir=cache)
    if given.is_file():
        return datasets.load_dataset("parquet", data_files=str(given), split="train", cache_dir=cache)
    if _is_saved(given):
        return datasets.load_from_disk(str(given))
    return datasets.load_dataset(str(given), cache_dir=cache)


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SAVED)


def _parquet_in(folder: Path) -> list[Path]:
    """The Parquet files of a folder as the hub lays them out: in it, or in folders of splits or configurations."""
    patterns = [f"{below}*{ending}" for below in ("", "*/") for ending in _PARQUET]
    return sorted(file for pattern in patterns for file in folder.glob(pattern))


def _has_images(file: Path) -> bool:
    with suppress(ConvsmithError):  # who opens it says what is wrong
        images, others = column_kinds(file)
        named = find_column(dict.fromkeys(images), PATH) or not find_column(dict.fromkeys(others), PATH)
        return bool(images and named)  # else the bytes are thumbnails beside the paths of a table
    return False
