from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    """Forget compiled code after each test: graphs of one model would count as recompilations of the next."""
    yield
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
