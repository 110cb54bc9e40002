"""Files of `torch.save`, read without ever executing or building what they hold besides tensors and plain values."""

from __future__ import annotations

import re
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from convsmith.errors import ConvsmithError

_MOST_KINDS = 100
"""How many kinds of objects one file may hold: it is read anew for each."""

# What of the standard library training code keeps beside its weights. The rest is in a file only if somebody wants it
# to do something.
_RECORDS = frozenset({
    "argparse", "collections", "copyreg", "datetime", "decimal", "enum", "fractions", "functools", "itertools",
    "logging", "numbers", "pathlib", "random", "re", "time", "types", "typing", "uuid", "zoneinfo",
})  # fmt: skip
_TYPES = frozenset({
    "bool", "bytes", "dict", "float", "frozenset", "getattr", "int", "list", "object", "range", "slice", "str",
    "tuple", "type",
})  # fmt: skip


class Skipped(list[Any]):
    """A stand-in for an object that is not built: it takes whatever it is made from, and keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Leave it out."""

    def extend(self, items: object) -> None:
        """Leave them out."""

    def __repr__(self) -> str:
        return type(self).__name__

    @property
    def kind(self) -> str:
        """The class, as the file names it."""
        return repr(self).removeprefix("Skipped ").removeprefix("builtins.")


class _Entries:
    """A stand-in for a mapping of some kind: its entries, which torch puts into exact types of its own only."""

    def __new__(cls, *_: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def load_torch_file(path: Path) -> Any:
    """The content of a file, on the CPU; a `Skipped` named as the file does stands for each object of a class.

    Raises:
        ConvsmithError: it cannot be read, or names what only a file has that is to execute something.
    """
    if _is_program(path):
        raise executes(path, "it is a TorchScript program")
    stand_ins: dict[str, type] = {}
    zipped = zipfile.is_zipfile(path)
    while True:
        try:
            with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in stand_ins.items()]):
                # Reading from the file's pages saves a copy; files of before torch 1.6 are not zips: they are read.
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        except Exception as error:  # torch raises many types on damaged files
            _stand_in_for(stand_ins, path, error)


def _stand_in_for(stand_ins: dict[str, type], path: Path, error: Exception) -> None:
    """Add what stands for the object that torch would not build, or raise a ConvsmithError of `error`."""
    said = str(error)
    if mapping := re.search(r"Can only SETITEMS? .* got <class '[\w.]+\.Skipped (.+?)'>", said):
        stand_ins[mapping[1]] = _Entries
        return
    refused = re.search(r"GLOBAL (\S+)|reduce for unrecognized function Skipped (\S+)", said)
    if refused is None:
        raise unreadable(path, error) from error
    name = refused[1] or refused[2]
    name = name if "." in name else f"builtins.{name}"
    if name in stand_ins or len(stand_ins) == _MOST_KINDS or not _is_record(name):
        what = name.removeprefix("builtins.")
        raise executes(path, f"it holds the Python object `{what}`") from error
    stand_ins[name] = type(f"Skipped {name}", (Skipped,), {})


def _is_record(name: str) -> bool:
    module, _, short = name.rpartition(".")
    library = IMPORT_MAPPING.get(module, module).partition(".")[0]  # torch writes the names of Python 2
    return short in _TYPES if library == "builtins" else library in _RECORDS or library not in sys.stdlib_module_names


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # zipfile raises many types on damaged archives; torch will refuse them too
        return False


def executes(path: Path | str, why: str) -> ConvsmithError:
    """The error about a file of which more than tensors would be needed."""
    return ConvsmithError(
        f"{path} was not loaded",
        f"{why}, which loading would have to execute",
        "Save its state dict alone, in an environment that trusts the file, and load that.",
    )


def unreadable(path: Path, error: Exception) -> ConvsmithError:
    """The error about a file that could not be read, by what is in the file: what its reader says is of no help."""
    if isinstance(error, OSError) and error.strerror:
        return ConvsmithError(f"cannot read {path}", error.strerror)
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        why = "it is empty"
    elif path.suffix == ".safetensors":
        why = "it is cut off, damaged or none of safetensors"
    elif start in (b"PK", b"\x80\x02"):  # torch writes archives, and before 1.6 pickles
        why = "it is cut off or damaged"
    else:
        why = "torch does not write such files"
    return ConvsmithError(
        f"{path} is not a readable checkpoint", why, "Get it again, or check that it is the right one."
    )
