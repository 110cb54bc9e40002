"""The programs of tools/, as modules."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.conftest import REPOSITORY


def load_tool(name: str) -> ModuleType:
    """The module that `tools/NAME.py` is."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / f"tools/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
