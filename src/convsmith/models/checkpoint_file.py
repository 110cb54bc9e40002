"""State dicts out of files and mappings, without ever executing what a file says."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convsmith.errors import ConvsmithError

# Where official checkpoints keep the state dict.
_STATE_DICT_KEYS = ("state_dict", "model", "model_ema")


def read_state_dict(source: object, key: str = "auto") -> dict[str, Tensor]:
    """The state dict of a `.safetensors` or torch checkpoint file, on the CPU, or of a mapping.

    Args:
        source: the file's path, or a mapping such as a file holds.
        key: entry that holds the state dict, such as `model_ema`; `auto` looks for it.

    Raises:
        ConvsmithError: the file is unreadable or would execute code, or there is no state dict of plain tensors.
    """
    if isinstance(source, Mapping):
        return _find_state_dict(source, "what was given", key)
    if not isinstance(source, str | Path):
        fix = "Pass its `state_dict()`." if isinstance(source, torch.nn.Module) else ""
        raise ConvsmithError(f"a {type(source).__name__} is neither a checkpoint file nor a state dict", fix=fix)
    path = Path(source)
    if not path.is_file():
        raise ConvsmithError(f"there is no checkpoint file {path}", fix="Check the path.")
    if path.suffix != ".safetensors":
        return _find_state_dict(_load_torch_file(path), str(path), key)
    if key != "auto":
        raise ConvsmithError(
            f"{path} has no entry `{key}`", "a safetensors file is one state dict", "Leave out the key."
        )
    try:
        return _find_state_dict(load_file(path), str(path), key)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


class _Skipped:
    """What stands for a value that is no tensor, whatever it is made from."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# What training code saves beside the weights: its options, measured values and paths. They are not even built.
_SKIPPED = [
    "argparse.Namespace",
    *(f"numpy.{name}" for name in ("dtype", "ndarray")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(
        f"{module}.{pure}{system}Path"
        for module in ("pathlib", "pathlib._local")
        for pure in ("", "Pure")
        for system in ("", "Posix", "Windows")
    ),
]


def _load_torch_file(path: Path) -> Any:
    if _is_program(path):
        raise _executes(path, "it is a TorchScript program")
    try:
        with torch.serialization.safe_globals([(_Skipped, name) for name in _SKIPPED]):
            # Reading from the file's pages saves a copy; files of before torch 1.6 are no zip and have to be read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises many types on damaged files
        if refused := re.search(r"\bGLOBAL (\S+)", str(error)):
            raise _executes(path, f"it holds the Python object `{refused[1]}`") from error
        raise _unreadable(path, error) from error


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # zipfile raises many types on damaged archives; torch will refuse them too
        return False


def _executes(path: Path, why: str) -> ConvsmithError:
    return ConvsmithError(
        f"{path} was not loaded",
        f"{why}, which loading would have to execute",
        "Save its state dict alone, in an environment that trusts the file, and load that.",
    )


def _unreadable(path: Path, error: Exception) -> ConvsmithError:
    """The error about a file that could not be read, by what is in the file: what its reader says helps nobody."""
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


def _find_state_dict(content: Any, where: str, key: str) -> dict[str, Tensor]:
    if key != "auto":
        if not isinstance(content, Mapping) or key not in content:
            names = tuple(map(str, content)) if isinstance(content, Mapping) else ()
            raise ConvsmithError(f"{where} has no entry `{key}`", f"its entries are: {some(names)}")
        content = content[key]
    elif isinstance(content, Mapping):
        content = next((content[k] for k in _STATE_DICT_KEYS if isinstance(content.get(k), Mapping)), content)
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ConvsmithError(
            f"no state dict was found in {where}",
            f"neither itself nor an entry {' or '.join(_STATE_DICT_KEYS)} maps names to tensors",
            "Name the right entry with key=...",
        )
    for name, value in content.items():
        if reason := _unusable(name, value):
            raise ConvsmithError(
                f"the state dict in {where} cannot be used",
                f"its entry `{name}` {reason}",
                "Name another entry with key=..., or convert the tensors before.",
            )
    return dict(content)


def _unusable(name: object, value: object) -> str | None:
    """Why that is no entry of a state dict whose values can be copied."""
    if not isinstance(name, str):
        return "is not named by a string"
    if not isinstance(value, Tensor):
        return f"is no tensor but a {type(value).__name__}"
    if value.layout != torch.strided:
        return f"is a sparse tensor ({value.layout})"
    if value.is_quantized:
        return f"is quantized ({value.dtype})"
    if value.is_complex():
        return f"is complex ({value.dtype})"
    return "is on the meta device: it has no values" if value.is_meta else None


def some(names: tuple[str, ...]) -> str:
    """The first of `names`, for a message."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
