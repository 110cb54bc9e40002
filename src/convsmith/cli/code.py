"""A word before code of a bundle runs."""

from __future__ import annotations

import sys
from pathlib import Path


def warn_of_code(bundle: Path) -> None:
    """Say so on standard error if the bundle's model is a program, such as TorchScript."""
    from convsmith.bundle.format import read_manifest
    from convsmith.deploy.format import find_format

    name = read_manifest(bundle).format
    if find_format(name).is_code:
        print(f"warning: a {name} file is code, which runs now with your rights: is it from you?", file=sys.stderr)
