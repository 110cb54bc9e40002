"""The files of onnxruntime-web, out of its npm package."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from convsmith.errors import ConvsmithError

PACKAGE_VARIABLE = "CONVSMITH_ORT_WEB"
_NAME = "onnxruntime-web"
_FILES = {  # what the page calls them: some hosts serve no .mjs as a script
    "onnxruntime-web.js": "ort.wasm.bundle.min.mjs",
    "onnxruntime-web.wasm": "ort-wasm-simd-threaded.wasm",
}


@dataclass(frozen=True)
class RuntimeFiles:
    """One version of onnxruntime-web.

    Attributes:
        version: of the package.
        licence: as the package states it.
        files: what the page needs of it, content by name.
    """

    version: str
    licence: str
    files: dict[str, bytes]


def runtime_files() -> RuntimeFiles:
    """The package that CONVSMITH_ORT_WEB names, or that `npm install` has put into this folder.

    Raises:
        ConvsmithError: it is not there, or lacks a file.
    """
    folder = _folder()
    try:
        facts = json.loads((folder / "package.json").read_text("utf-8"))
        files = {name: (folder / "dist" / source).read_bytes() for name, source in _FILES.items()}
        return RuntimeFiles(str(facts["version"]), str(facts["license"]), files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConvsmithError(
            f"{folder} is not a whole package {_NAME}",
            f"{getattr(error, 'filename', None) or error} is missing",
            f"Get it by `npm pack {_NAME}`, unpack it, and name the folder `package` by {PACKAGE_VARIABLE}.",
        ) from error


def _folder() -> Path:
    """The folder of the package."""
    named, here = os.environ.get(PACKAGE_VARIABLE), Path("node_modules") / _NAME
    if named:
        inside = Path(named) / here
        return inside if inside.is_dir() else Path(named)
    if here.is_dir():
        return here
    raise ConvsmithError(
        f"the format web needs the npm package {_NAME}",
        f"it is not in {here}, and {PACKAGE_VARIABLE} names no folder",
        f"Run `npm install {_NAME}` here; or get it by `npm pack {_NAME}`, unpack it, and name the folder by "
        f"{PACKAGE_VARIABLE}.",
    )
